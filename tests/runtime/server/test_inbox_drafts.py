"""Messages that arrive through the API: their drafts are there before anybody opens them, or they stay as they were."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.events import AskRequest
from runtime.journal.stored_turn import Feedback
from runtime.server.app import create_app
from runtime.server.service import Service

EN = "How long can I return an item after delivery?"
ZH = "大多数商品多长时间内可以退货？"
LAYOUT = {"layout": "parallel", "answer_tokens": 12, "languages": ["en", "zh"]}
NEVER = threading.Event()


@asynccontextmanager
async def calling(home: Path, **more: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Service]]:
    settings = Settings(threads=1, **more)
    with lock_home(home, "test"), open_desk(home, settings) as desk:
        service = Service(home, settings)
        service.desk = desk
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=60) as client:
            yield client, service
        service.stop()
        service.wait_for_answers()


async def newest(http: httpx.AsyncClient, conversation: str) -> dict[str, Any]:
    return dict((await http.get(f"/v1/conversations/{conversation}")).json()["turns"][-1])


async def drafted(http: httpx.AsyncClient, conversation: str) -> dict[str, Any]:
    turn = await newest(http, conversation)
    while not turn["draft"]:
        turn = await newest(http, conversation)
    return turn


async def send(http: httpx.AsyncClient, conversation: str, text: str, **more: Any) -> None:
    got = await http.post(f"/v1/conversations/{conversation}/turns", json={"text": text, **more})
    assert got.status_code == 200, got.text


async def test_message_is_drafted_before_anybody_opens_it(make_home: Callable[..., Path], random_gguf: Path) -> None:
    async with calling(make_home(random_gguf, **LAYOUT)) as (http, service):
        for name, text in (("mail-1", EN), ("mail-2", ZH)):
            await send(http, name, text, draft=True)
            turn = await drafted(http, name)
            assert (turn["turn"], turn["state"], turn["question"], turn["retired"]) == (1, "complete", text, False)
            assert turn["model"]
            assert turn["details"]["decided"] in ("model", "extract", "section")
            # What an agent who asks the same is told.
            asked = await http.post("/v1/ask", json={"question": text, "conversation": f"asked-{name}"})
            assert asked.status_code == 200
            assert (await newest(http, f"asked-{name}"))["draft"] == turn["draft"]
        await send(http, "mail-3", "I want a human agent now", draft=True)
        turn = await drafted(http, "mail-3")
        assert turn["handoff"]
        counts = service.ahead()
        assert (counts.drafts, counts.used, counts.tokens_wasted) == (2, 2, 0)


async def test_message_stays_as_it_was_where_no_draft_is_wanted(
    make_home: Callable[..., Path], random_gguf: Path
) -> None:
    home = make_home(random_gguf, **LAYOUT)
    async with calling(home) as (http, service):
        await send(http, "mail", EN)
        assert service.active == 0
        assert (await newest(http, "mail"))["details"]["decided"] == "agent"
    async with calling(home, draft_ahead_tokens=0) as (http, service):
        desk = service.ready_desk()
        key = desk.journal.note("off", EN, "en")
        assert not desk.draft_message(key, AskRequest(question=EN, conversation="off"), NEVER)
        assert (await newest(http, "off"))["draft"] == ""


@pytest.mark.parametrize("what", ["answered", "newer", "cancelled", "long"])
async def test_message_that_needs_no_draft_any_more_gets_none(
    make_home: Callable[..., Path], random_gguf: Path, what: str
) -> None:
    async with calling(make_home(random_gguf, **LAYOUT)) as (http, service):
        desk, cancel = service.ready_desk(), threading.Event()
        text = EN * 200 if what == "long" else EN
        key = desk.journal.note("mail", text, "en")
        if what == "answered":
            desk.journal.feed_back(key, Feedback(reply="Thirty days.", agent="ann"))
        elif what == "newer":
            desk.journal.note("mail", ZH, "zh")
        elif what == "cancelled":
            cancel.set()
        assert not desk.draft_message(key, AskRequest(question=text, conversation="mail"), cancel)
        turns = (await http.get("/v1/conversations/mail")).json()["turns"]
        assert [one["draft"] for one in turns] == [""] * len(turns)
        assert turns[0]["state"] == "complete"


async def test_server_that_stops_drafts_nothing_more(make_home: Callable[..., Path], random_gguf: Path) -> None:
    async with calling(make_home(random_gguf, **LAYOUT)) as (_, service):
        desk = service.ready_desk()
        key = desk.journal.note("mail", EN, "en")
        service.stop()
        assert not service.inbox_drafts.want(desk, key, AskRequest(question=EN, conversation="mail"), agent="ann")
        service.wait_for_answers()
        assert [turn.draft for turn in desk.journal.turns("mail")] == [""]
