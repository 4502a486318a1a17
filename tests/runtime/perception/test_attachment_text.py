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
    TextLine,
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
