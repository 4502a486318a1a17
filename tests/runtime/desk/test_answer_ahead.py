"""Drafts before Enter, through the server: there at once for their own text, never for another, and counted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.answer_ahead import AheadCounts, may_be_whole, refuse_draft
from runtime.desk.open_desk import open_desk
from runtime.desk.prefetch import KEPT_S, Prefetcher, TypingRequest
from runtime.engine.core.generation import Generation
from runtime.engine.core.sampling_params import SamplingParams
from runtime.events import AskRequest
from runtime.prompting.prompt_tokens import Prompt
from runtime.server.app import create_app
from runtime.server.service import Service
from runtime.text.sentences import ends_sentence

EN = "How long can I return an item after delivery?"
ZH = "大多数商品多长时间内可以退货？"
LAYOUT = {"layout": "parallel", "answer_tokens": 24, "languages": ["en", "zh"]}
NONE = {"drafts": 0, "used": 0, "tokens_written": 0, "tokens_wasted": 0, "processor_s": 0.0}


@asynccontextmanager
async def calling(home: Path, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(threads=1, **more)
    with lock_home(home, "test"), open_desk(home, settings) as desk:
        service = Service(home, settings)
        service.desk = desk
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=60) as client:
            yield client
        service.stop()
        service.wait_for_answers()


async def ask(http: httpx.AsyncClient, question: str, **more: Any) -> list[dict[str, Any]]:
    got = await http.post("/v1/ask", json={"question": question, **more})
    return [json.loads(line) for line in got.text.splitlines()]


async def typed(http: httpx.AsyncClient, text: str, conversation: str = "talk", *, paused: bool) -> dict[str, Any]:
    body = {"text": text, "conversation": conversation, "paused": paused}
    said: dict[str, Any] = (await http.post("/v1/typing", json=body)).json()
    while said["state"] == "reading":
        said = (await http.post("/v1/typing", json=body)).json()
        await asyncio.sleep(0)
    return said


async def ahead(http: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await http.get("/v1/status")).json()["ahead"])


@pytest.mark.parametrize("question", [EN, ZH])
async def test_draft_of_an_unchanged_question_is_there_when_it_is_asked(
    make_home: Callable[..., Path], random_gguf: Path, question: str
) -> None:
    async with calling(make_home(random_gguf, **LAYOUT), draft_ahead_tokens=8) as http:
        first = await typed(http, question[:-1], paused=True)
        assert first["state"] == "ready"
        assert 1 <= first["written"] <= 8
        # The end of a sentence needs no pause; what was written for the text without it is gone.
        said = await typed(http, question, paused=False)
        assert said["state"] == "ready"
        assert 1 <= said["written"] <= 8
        before = await ahead(http)
        both = first["written"] + said["written"]
        assert (before["drafts"], before["used"], before["tokens_wasted"]) == (2, 0, both)
        assert before["processor_s"] > 0
        events = await ask(http, question, conversation="talk")
        kinds = [event["event"] for event in events]
        assert kinds[0] == "stored", "it is on disk before anything of its draft is shown"
        assert kinds.index("found") < kinds.index("reading") < kinds.index("token")
        done = events[-1]
        assert done["reused_tokens"] == done["prompt_tokens"]
        after = await ahead(http)
        assert (after["used"], after["tokens_wasted"]) == (1, first["written"])
        figures = (await http.get("/metrics")).text
        assert f'edgedesk_ahead_tokens_total{{kind="used"}} {said["written"]}.0' in figures
        assert 'edgedesk_ahead_drafts_total{kind="begun"} 2.0' in figures
        assert (await ask(http, question))[-1]["answer"] == done["answer"]


@pytest.mark.parametrize(
    ("text", "asked"), [(EN, "How long can I return  an item after delivery?"), (ZH, ZH[:-1] + "?")]
)
async def test_draft_of_another_text_is_never_shown(
    make_home: Callable[..., Path], random_gguf: Path, text: str, asked: str
) -> None:
    async with calling(make_home(random_gguf, **LAYOUT), draft_ahead_tokens=8) as http:
        assert (await typed(http, text, paused=True))["written"] >= 1
        done = (await ask(http, asked, conversation="talk"))[-1]
        assert (await ahead(http))["used"] == 0
        assert (await ask(http, asked))[-1]["answer"] == done["answer"]


async def test_draft_goes_when_the_text_goes_on_or_is_deleted(
    make_home: Callable[..., Path], random_gguf: Path
) -> None:
    async with calling(make_home(random_gguf, **LAYOUT), draft_ahead_tokens=8) as http:
        for gone in (EN + " And", ""):
            assert (await typed(http, EN, paused=True))["written"] >= 1
            assert (await typed(http, gone, paused=False))["written"] == 0
            done = (await ask(http, EN, conversation="talk"))[-1]
            assert done["event"] == "done"
        assert (await ahead(http))["used"] == 0


async def test_draft_that_is_never_asked_for_is_nowhere_on_disk(
    make_home: Callable[..., Path], random_gguf: Path
) -> None:
    home = make_home(random_gguf, **LAYOUT)
    async with calling(home, draft_ahead_tokens=8, log_text=True) as http:
        assert (await typed(http, "How long can I return Wensleydale 退货?", paused=True))["written"] >= 1
        assert (await http.get("/v1/conversations")).json() == {"conversations": []}
        await typed(http, "", paused=False)
        await ask(http, "How long can I return Wetherby 退货?")
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file() and path.suffix != ".gguf")
    assert b"Wensleydale" not in kept
    assert b"Wetherby" in kept  # what was asked is there


@pytest.mark.parametrize("off", [{"draft_ahead_tokens": 0}, {"read_ahead": False}])
async def test_draft_ahead_can_be_switched_off(
    make_home: Callable[..., Path], random_gguf: Path, off: dict[str, Any]
) -> None:
    async with calling(make_home(random_gguf, **LAYOUT), **off) as http:
        assert (await typed(http, EN, paused=True))["written"] == 0
        now = await ahead(http)
        assert {**now, "processor_s": 0.0} == NONE


async def test_draft_is_not_begun_where_no_model_would_answer(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    async with calling(make_home(scripted_gguf)) as http:
        for text in ("", "  ", "I want a human agent now!", ZH):
            assert (await typed(http, text, paused=True))["state"] == "nothing", text
        assert await ahead(http) == NONE


class SlowSearch:
    """An engine, and a search that goes on until it is told to end."""

    def __init__(self) -> None:
        self.searching, self.go_on = threading.Event(), threading.Event()
        self.forgotten: list[str] = []
        self.begun: list[Generation] = []

    def lay_out(self, _request: AskRequest) -> tuple[Prompt, SamplingParams]:
        self.searching.set()
        assert self.go_on.wait(60)
        return Prompt((), (), (1, 2)), SamplingParams()

    def draft(self, prompt: Prompt, params: SamplingParams, cancel: threading.Event, **_: object) -> Generation:
        self.begun.append(Generation(prompt.flat(), params, cancel))
        return self.begun[-1]

    def forget(self, conversation: str) -> None:
        self.forgotten.append(conversation)


@pytest.mark.parametrize("text", [EN, ZH])
def test_draft_of_a_text_deleted_while_it_is_looked_up_is_dropped(text: str) -> None:
    slow = SlowSearch()
    prefetcher = Prefetcher(
        slow,  # type: ignore[arg-type]
        lambda _: None,
        lay_out_whole=slow.lay_out,
        may_draft=lambda: True,
        ahead_tokens=8,
    )
    typing = threading.Thread(target=prefetcher.typed, args=(TypingRequest(text=text, conversation="talk"),))
    typing.start()
    assert slow.searching.wait(60)
    assert prefetcher.typed(TypingRequest(text="", conversation="talk")).state == "nothing"
    slow.go_on.set()
    typing.join()
    assert [one.cancelled for one in slow.begun] == [True]
    assert slow.forgotten == ["talk", "talk"], "what was there before, and what came of the search"


def test_draft_is_dropped_when_nobody_goes_on_typing() -> None:
    slow, now = SlowSearch(), 0.0
    slow.go_on.set()
    prefetcher = Prefetcher(
        slow,  # type: ignore[arg-type]
        lambda _: None,
        lay_out_whole=slow.lay_out,
        may_draft=lambda: True,
        ahead_tokens=8,
        clock=lambda: now,
    )
    prefetcher.typed(TypingRequest(text=EN, conversation="talk"))
    prefetcher.forget_abandoned()
    assert slow.forgotten == []
    now = KEPT_S + 1
    prefetcher.forget_abandoned()
    assert slow.forgotten == ["talk"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("How long?", True),
        ("How long? ", True),
        ('She said "no."', True),
        ("多久？", True),
        ("他说“不行。”", True),
        ("How long", False),
        ("多久", False),
        ("", False),
        ('" ) ', False),
    ],
)
def test_sentence_end_is_a_possible_end_of_the_text(text: str, *, whole: bool) -> None:
    assert ends_sentence(text) is whole
    assert may_be_whole(text, paused=False) is whole
    assert may_be_whole(text, paused=True) is bool(text.strip())


@pytest.mark.parametrize(
    ("tokens", "answering", "available", "refusal"),
    [(16, 0, 1 << 32, ""), (0, 0, 1 << 32, "off"), (16, 1, 1 << 32, "loaded"), (16, 0, 1 << 20, "memory")],
)
def test_draft_is_begun_only_where_there_is_something_to_spare(
    tokens: int, answering: int, available: int, refusal: str
) -> None:
    assert refuse_draft(ahead_tokens=tokens, answering=answering, available_bytes=available) == refusal


def test_tokens_wasted_are_those_that_no_question_found() -> None:
    counts = AheadCounts(3, 1, 24, 8, 1.25) + AheadCounts(1, 0, 4, 0, 0.25)
    assert counts.as_dict() == {"drafts": 4, "used": 1, "tokens_written": 28, "tokens_wasted": 20, "processor_s": 1.5}
