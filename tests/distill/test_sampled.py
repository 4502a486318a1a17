"""The teacher's own replies: what the articles do not bear out is never learned, and the reasons are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.sampled import Sampling, sample_replies, verdict
from runtime.articles import Section
from runtime.prompt import PromptSpec
from runtime.record import Record

SAID = "You can return most items within 30 days of delivery or collection. 大多数商品可在30天内退货。"
"""What the scripted model answers to everything."""


@pytest.mark.parametrize(
    ("reply", "evidence", "lang", "wanted"),
    [
        ("You have 30 days.", ["en0#a"], "en", "kept"),
        ("可在30天内退货。", ["zh0#a"], "zh", "kept"),
        ("You have 60 days.", ["en0#a"], "en", "ungrounded"),
        ("可在60天内退货。", ["zh0#a"], "zh", "ungrounded"),
        ("Order 4711 may go back within 30 days.", ["en0#a"], "en", "kept"),
        ("I do not know.", ["en0#a"], "en", "refuses"),
        ("I do not know.", [], "en", "kept"),
        ("不知道。", [], "zh", "kept"),
        ("Yes, of course.", [], "en", "does not refuse"),
        ("  ", ["en0#a"], "en", "empty"),
        ("You have  30 days to return it.", ["en0#a"], "en", "repeated"),
    ],
)
def test_a_reply_is_kept_or_there_is_a_reason(
    reply: str, evidence: list[str], lang: str, wanted: str, make_record: Callable[..., Record],
    sections: dict[str, Section], spec: PromptSpec,
) -> None:  # fmt: skip
    record = make_record("r", "May order 4711 go back?", "You have 30 days to return it.", *evidence, lang=lang)
    shown = [sections[ref] for ref in evidence] or [sections["en1#a"]]
    assert verdict(record, reply, shown, spec, {record.response}) == wanted


def test_the_teacher_is_asked_and_its_replies_become_records_of_their_own(
    scripted_gguf: Path, make_record: Callable[..., Record], sections: dict[str, Section], spec: PromptSpec
) -> None:
    records = [
        make_record("grounded", "How long?", "A month.", "en0#a"),
        make_record("ungrounded", "How much?", "It costs €4.90.", "en1#a"),
        make_record("nobody", "Who won?", "I do not know."),
    ]

    def ask() -> tuple[list[Record], Any]:
        seen: list[int] = []
        out = sample_replies(
            scripted_gguf,
            records,
            lambda record: [sections[ref] for ref in record.evidence] or [sections["en2#a"]],
            spec,
            Sampling(count=2, temperature=0.1, seed=3),
            threads=1,
            advance=seen.append,
        )
        assert seen == [1, 1, 1]
        return out

    kept, verdicts = ask()
    assert (kept, verdicts) == ask()
    assert verdicts == {"does not refuse": 1, "kept": 1, "repeated": 3, "ungrounded": 1}
    (record,) = kept
    assert record == records[0].model_copy(update={"id": "grounded/s0", "response": SAID, "source": "teacher"})


def test_a_reply_that_does_not_end_is_dropped(
    endless_gguf: Path, make_record: Callable[..., Record], sections: dict[str, Section], spec: PromptSpec
) -> None:
    record = make_record("r", "How long?", "A month.", "en0#a")
    short = spec.model_copy(update={"answer_tokens": 90})
    kept, verdicts = sample_replies(
        endless_gguf, [record], lambda _: [sections["en0#a"]], short, Sampling(count=1), threads=1
    )
    assert kept == []
    assert verdicts == {"cut off": 1}
