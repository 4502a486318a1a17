"""Typing, from the application's door to the model's memory: read before Enter, forgotten without it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.client.client import Client
from runtime.desk.open_desk import open_desk
from runtime.desk.prefetch import Prefetcher, PrefetchStatus, TypingRequest, stable_prefix
from runtime.errors import UnavailableError
from runtime.events import AskRequest
from runtime.server.app import create_app
from runtime.server.service import Service

EN = "How long can I return an item after delivery?"
ZH = "大多数商品多长时间内可以退货？"
LAYOUT = {"layout": "parallel", "answer_tokens": 24, "languages": ["en", "zh"]}


@contextmanager
def serving(home: Path, **more: Any) -> Iterator[Service]:
    settings = Settings(threads=1, **more)
    with lock_home(home, "test"), open_desk(home, settings) as desk:
        service = Service(home, settings)
        service.desk = desk
        yield service
        service.stop()
        service.wait_for_answers()


@asynccontextmanager
async def calling(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=60) as client:
        yield client


async def ask(http: httpx.AsyncClient, question: str, **more: Any) -> list[dict[str, Any]]:
    got = await http.post("/v1/ask", json={"question": question, **more})
    return [json.loads(line) for line in got.text.splitlines()]


async def typed(http: httpx.AsyncClient, text: str, conversation: str | None = None) -> dict[str, Any]:
    """PrefetchStatus, and read."""
    said = (await http.post("/v1/typing", json={"text": text, "conversation": conversation})).json()
    while said["state"] == "reading":
        said = (await http.post("/v1/typing", json={"text": text, "conversation": said["conversation"]})).json()
        await asyncio.sleep(0)
    return dict(said)


@pytest.mark.parametrize("question", [EN, ZH])
async def test_of_a_question_typed_only_the_last_words_are_read_after_enter(
    make_home: Callable[..., Path], random_gguf: Path, question: str
) -> None:
    home = make_home(random_gguf, **LAYOUT)
    with serving(home) as service:
        async with calling(service) as http:
            said, before = await typed(http, question[: len(question) // 2]), 0
            assert said["state"] == "ready"
            conversation = said["conversation"]
            for end in range(len(question) // 2, len(question)):
                said = await typed(http, question[:end], conversation)
                assert (said["state"], said["conversation"]) == ("ready", conversation)
                assert said["tokens"] >= before
                before = said["tokens"]
            events = await ask(http, question, conversation=conversation)
            done = events[-1]
            last_words = len(question.encode()) - len(stable_prefix(question[:-1]).encode())
            template = len(b"<|im_end|>\n<|im_start|>assistant\n")
            assert done["prompt_tokens"] - done["reused_tokens"] <= last_words + template
            assert done["layout"] == "parallel"
            reading = [event for event in events if event["event"] == "reading"]
            assert reading[-1]["done"] == reading[-1]["total"] == done["prompt_tokens"]
            kinds = [event["event"] for event in events]
            assert kinds.index("found") < kinds.index("reading") < kinds.index("token")
            # Nothing was typed for this one, and the answer is the same.
            assert (await ask(http, question))[-1]["answer"] == done["answer"]


async def test_what_is_never_asked_leaves_nothing_behind(make_home: Callable[..., Path], random_gguf: Path) -> None:
    home = make_home(random_gguf, **LAYOUT)
    with serving(home, log_text=True) as service:
        async with calling(service) as http:
            said = await typed(http, "How long can I return Wetherby's 退货 item after")
            assert said["state"] == "ready"
            left = await typed(http, "", said["conversation"])
            assert left == {"conversation": said["conversation"], "state": "nothing", "tokens": 0, "written": 0}
            assert (await http.get("/v1/conversations")).json() == {"conversations": []}
            # What was read for it is gone as well: asked after all, only what all prompts begin with is there.
            done = (await ask(http, "How long can I return Wetherby's 退货 item after", conversation="other"))[-1]
            assert done["prompt_tokens"] - done["reused_tokens"] > len("How long can I return Wetherby")
            await typed(http, "Does Wensleydale have the delivery of")
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file() and path.suffix != ".gguf")
    assert b"Wensleydale" not in kept
    assert b"Wetherby" in kept  # what was asked is there


async def test_the_question_that_comes_chooses_its_own_articles(
    make_home: Callable[..., Path], random_gguf: Path
) -> None:
    price = "What does standard delivery cost, and from what price is it free?"
    with serving(make_home(random_gguf, articles=1, **LAYOUT)) as service:
        async with calling(service) as http:
            alone = await ask(http, price)
            said = await typed(http, "How long can I return what")
            assert said["state"] == "ready"
            events = await ask(http, price, conversation=said["conversation"])
            for kind in ("found", "done"):
                one, other = (next(event for event in some if event["event"] == kind) for some in (alone, events))
                assert one["citations"] == other["citations"]
            assert events[-1]["answer"] == alone[-1]["answer"]
            assert events[-1]["citations"] or events[-1]["handoff"] is None


async def test_what_no_model_would_answer_is_not_read_and_it_can_be_switched_off(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    with serving(home) as service:
        async with calling(service) as http:
            for text in ("", "  ", "How", "I want a human agent now", ZH, "x" * 5000 + " y"):
                assert (await typed(http, text))["state"] == "nothing", text
            for wrong in ({}, {"text": 1}, {"text": "a", "conversation": "../x"}, {"text": "a", "more": 1}):
                assert (await http.post("/v1/typing", json=wrong)).status_code == 422
    with serving(home, read_ahead=False) as service:
        async with calling(service) as http:
            said = await typed(http, EN, "talk")
            assert said == {"conversation": "talk", "state": "off", "tokens": 0, "written": 0}


async def test_a_follow_up_is_typed_behind_the_turns_before_it(
    make_home: Callable[..., Path], random_gguf: Path
) -> None:
    with serving(make_home(random_gguf, **LAYOUT)) as service:
        async with calling(service) as http:
            await ask(http, EN, conversation="talk")
            said = await typed(http, "And how long at Christmas may I", "talk")
            done = (await ask(http, "And how long at Christmas may I return", conversation="talk"))[-1]
            assert said["state"] == "ready"
            assert done["reused_tokens"] >= said["tokens"] - 1


async def test_the_client_sends_what_is_typed(
    make_home: Callable[..., Path], scripted_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(scripted_gguf)
    from tests.support.server import serving as running

    with running(home):
        client = Client(home)
        said = client.typing(EN)
        assert said["state"] in ("reading", "ready")
        again = await client.typing_async(EN, conversation=said["conversation"])
        assert again["conversation"] == said["conversation"]
        assert client.typing("", conversation=said["conversation"])["state"] == "nothing"


class NoEngine:
    """An engine that refuses everything, and remembers what it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def prefetch(self, *_: object, **__: object) -> Any:
        raise UnavailableError("no engine")

    def forget(self, conversation: str) -> None:
        self.forgotten.append(conversation)


@pytest.mark.parametrize("text", ["How long may I keep ", "多长时间内可以退"])
def test_prefetch_in_the_midst_of_a_search_keeps_no_question_waiting(text: str) -> None:
    searching, go_on = threading.Event(), threading.Event()

    def lay_out(request: AskRequest) -> None:
        if request.conversation == "slow":
            searching.set()
            assert go_on.wait(60)

    prefetcher = Prefetcher(NoEngine(), lay_out)  # type: ignore[arg-type]
    said: list[PrefetchStatus] = []
    slow = threading.Thread(target=lambda: said.append(prefetcher.typed(TypingRequest(text=text, conversation="slow"))))
    slow.start()
    assert searching.wait(60)
    # None of these would return if the search above were made under their lock.
    assert prefetcher.typed(TypingRequest(text=text, conversation="slow")).state == "reading"
    assert prefetcher.typed(TypingRequest(text=text, conversation="other")).state == "nothing"
    prefetcher.asked("other")
    prefetcher.asked("slow")
    go_on.set()
    slow.join()
    assert [one.state for one in said] == ["nothing"], "the question had come meanwhile"


def test_prefetch_looks_at_no_text_that_could_not_be_asked() -> None:
    seen: list[str] = []
    prefetcher = Prefetcher(NoEngine(), lambda request: seen.append(request.question), max_chars=100)  # type: ignore[arg-type, func-returns-value]
    for text in ("x" * 101, "货" * 50_000, "a-" * 40_000):
        assert prefetcher.typed(TypingRequest(text=text, conversation="talk")).state == "nothing"
    assert seen == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("How long may I ke", "How long may I"),
        ("How long may I ", "How long may I"),
        ("How", ""),
        ("大多数商品多", "大多数商品"),
        ("NL-TV55 的价", "NL-TV55 的"),
        ("NL-TV5", ""),
        ("退货 NL-TV5", "退货"),
        (" \n", ""),
    ],
)
def test_a_word_is_settled_when_the_next_has_begun(text: str, words: str) -> None:
    assert stable_prefix(text) == words


@given(st.text(), st.text())
def test_typing_on_changes_nothing_that_was_settled(text: str, more: str) -> None:
    assert (text + more).strip().startswith(stable_prefix(text))


@pytest.mark.parametrize("piece", ["a", "a-", "word ", "货", "a货", "\n", " ", "é́"])
def test_stable_prefix_takes_time_in_proportion_to_the_text(piece: str) -> None:
    """Twice the text takes at most three times as long, in the calmest of three tries."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece)) + " "
        took = []
        for _ in range(3):
            begun = time.process_time()
            for _ in range(10):
                stable_prefix(text), stable_prefix(text[:-1])
            took.append(time.process_time() - begun)
        return min(took)

    assert any(seconds(200_000) < 3 * seconds(100_000) + 0.005 for _ in range(3))
