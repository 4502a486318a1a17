"""The teacher's own replies: what the articles do not bear out is never learned, and the reasons are counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from distill.compute.resumable_parquet import ResumableParquet
from distill.models.openai_endpoint import Endpoint
from distill.teacher.generators import EndpointGenerator, GeneratedReply, gguf_generator
from distill.teacher.sampled_replies import Sampling, judge_reply, sample_replies
from runtime.errors import UnavailableError
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.articles import Section
from runtime.text.records import Record
from tests.distill.conftest import TEXTS

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
    assert judge_reply(record, reply, shown, spec, {record.response}) == wanted


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
        with gguf_generator(scripted_gguf, spec, threads=1) as speaker:
            out = sample_replies(
                speaker,
                records,
                lambda record: [sections[ref] for ref in record.evidence] or [sections["en2#a"]],
                spec,
                Sampling(count=2, temperature=0.1, seed=3),
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
    with gguf_generator(endless_gguf, short, threads=1) as speaker:
        kept, verdicts = sample_replies(speaker, [record], lambda _: [sections["en0#a"]], short, Sampling(count=1))
    assert kept == []
    assert verdicts == {"cut off": 1}


class Scripted:
    """A speaker that says what it is told to, and then that the line went dead."""

    def __init__(self, *replies: str) -> None:
        self.asked: list[str] = []
        self._replies = list(replies)

    def reply(self, record: Record, sections: Any, *, temperature: float, seed: int) -> GeneratedReply:
        self.asked.append(f"{record.id} {seed}")
        if not self._replies:
            raise UnavailableError("it does not answer")
        return GeneratedReply(self._replies.pop(0), sections, finished=True)


def test_sampling_that_was_cut_off_goes_on_where_it_was(
    make_record: Callable[..., Record], sections: dict[str, Section], spec: PromptSpec, tmp_path: Path
) -> None:
    records = [make_record(f"r{n}", f"多久 {n}？", "一个月。", "zh0#a", lang="zh") for n in range(5)]
    said = [f"{n}. 30天内可以退货。" for n in range(5)]

    def ask(speaker: Scripted, parts: ResumableParquet | None) -> Any:
        found = [sections["zh0#a"], sections["en0#a"]]
        sampling = Sampling(count=1, seed=3)
        return sample_replies(speaker, records, lambda _: found, spec, sampling, parts=parts, part_records=2)

    parts = ResumableParquet(tmp_path / "parts", {"model": "a"}, "teacher_replies", suffix=".json")
    with pytest.raises(UnavailableError):
        ask(Scripted(*said[:3]), parts)
    again = Scripted(*said[2:])
    assert ask(again, parts) == ask(Scripted(*said), None)
    assert again.asked == ["r2 5", "r3 6", "r4 7"]


def test_a_server_is_asked_in_messages_and_says_why_it_ended(
    make_record: Callable[..., Record], sections: dict[str, Section], spec: PromptSpec
) -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "big"}]})
        sent.append(json.loads(request.content))
        choice = {"message": {"content": " 30天内。 "}, "finish_reason": "length"}
        return httpx.Response(200, json={"choices": [choice]})

    client = httpx.Client(transport=httpx.MockTransport(answer))
    record = make_record(
        "r", "多久？", "一个月。", "zh0#a", lang="zh", context=[("user", "你好"), ("assistant", "您好")]
    )
    speaker = EndpointGenerator(Endpoint(client, "http://teacher/v1"), spec)
    said = speaker.reply(record, [sections["zh0#a"], sections["zh1#a"]], temperature=0.5, seed=4)
    assert said == GeneratedReply("30天内。", [sections["zh0#a"], sections["zh1#a"]], finished=False)
    (body,) = sent
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    system = body["messages"][0]["content"]
    assert system.startswith(spec.system["zh"])
    assert 0 < system.index(TEXTS["zh"][1]) < system.index(TEXTS["zh"][0])  # the best stands last
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0.5, 4, spec.answer_tokens)
