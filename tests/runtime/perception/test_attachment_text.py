"""What was read is bounded, harmless to show, and becomes part of a message in one way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.base.terminal import STEERING
from runtime.perception.attachment_text import (
    MAX_CHARS,
    MAX_LINE_CHARS,
    MAX_LINES,
    AttachmentText,
    OfferedEntity,
    TextLine,
    asking_lines,
    asking_part,
    bounded_lines,
    with_question,
)


@given(st.lists(st.text(max_size=600), max_size=600))
def test_attachment_lines_are_bounded_and_cannot_steer(texts: list[str]) -> None:
    kept, cut = bounded_lines([TextLine(text=text) for text in texts])
    assert len(kept) <= MAX_LINES
    assert sum(len(line.text) + 1 for line in kept) <= MAX_CHARS + 1
    assert all(line.text.strip() and len(line.text) <= MAX_LINE_CHARS for line in kept)
    assert not any(STEERING.search(line.text) or "\n" in line.text for line in kept)
    if not cut:
        assert [line.text for line in kept] == [
            shown for text in texts if (shown := " ".join(STEERING.sub(" ", text).split()))
        ]


def test_attachment_text_follows_the_words_that_ask() -> None:
    receipt = AttachmentText(kind="picture", lines=(TextLine(text="订单号 NL-20431"), TextLine(text="合计 ¥39.90")))
    assert with_question(" 可以退吗？\n", receipt) == "可以退吗？\n\n订单号 NL-20431\n合计 ¥39.90"
    assert with_question("Can this be returned?", AttachmentText(kind="picture", lines=())) == "Can this be returned?"
    heard = AttachmentText(kind="recording", lines=(TextLine(text="Can I return this?"),))
    assert with_question("", heard) == "Can I return this?"


SHOWN = ("NORTHLIGHT" * 9, "Toaster TX-200 €39.90", "谢谢惠顾" * 20, "TOTAL")
RECEIPT = AttachmentText(
    kind="picture",
    lines=tuple(TextLine(text=text) for text in SHOWN),
    entities=(OfferedEntity(kind="model_code", value="TX-200", line=1), OfferedEntity(kind="total", value="1", line=3)),
)


def test_search_looks_for_the_words_and_for_what_they_are_about() -> None:
    assert asking_lines("Can this be returned?", RECEIPT) == "Can this be returned?"
    error = AttachmentText(kind="picture", lines=(TextLine(text="错误 E24"),))
    assert asking_lines("这是什么意思？", error) == "这是什么意思？\n错误 E24"
    assert asking_lines("", RECEIPT) is None
    letter = AttachmentText(kind="picture", lines=(TextLine(text="I have waited for nine weeks. " * 9),))
    assert asking_lines("A customer's letter", letter) is None, "all of it is what the customer says"


def test_search_looks_for_what_an_agent_left_of_the_text() -> None:
    whole = with_question("Can this be returned?", RECEIPT)
    assert asking_part(whole, RECEIPT) == "Can this be returned?"
    corrected = whole.replace("TX-200", "TX-201")
    assert asking_part(corrected, RECEIPT) == "Can this be returned?\n\nToaster TX-201 €39.90"
    assert asking_part("Anything else?", RECEIPT) == "Anything else?"
    assert asking_part("TOTAL", RECEIPT) is None
