"""Asking, and what agents do with drafts: conversations, feedback, hand-offs, search in past conversations.

POST /v1/ask                                       AskRequest -> NDJSON events (runtime.events); closing it cancels
GET  /v1/conversations                             ?limit=
GET  /v1/conversations/search                      ?q= &limit=
GET  /v1/conversations/{conversation}              its turns, with drafts and feedback
POST /v1/conversations/{conversation}/turns/{turn}/feedback
GET  /v1/handoffs                                  ?state=open|taken|closed
POST /v1/handoffs/{conversation}/{turn}            {state}; who takes it is who asks
GET  /v1/outbox                                    what would leave the branch, redacted; admin
POST /v1/outbox/sent                               {keys}: these have arrived; admin
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from runtime.api.access import Caller
from runtime.api.bodies import OversizedError, documented, read_body
from runtime.api.service import Service
from runtime.api.streams import Answer, EventStream
from runtime.errors import InputError, MissingError
from runtime.events import AskRequest, Event
from runtime.journal import Feedback, StoredTurn, TurnKey
from runtime.outbox import Leaving, arrived, leaving

Name = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[\w-]+$")]
Number = Annotated[int, Path(ge=1, le=1_000_000)]
Text = Annotated[str | None, Field(max_length=20_000)]


class FeedbackBody(BaseModel):
    """What became of a draft; what is left out stays as it was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["accepted", "edited", "rejected"] | None = None
    reply: Text = None
    """What was sent, or for a rejected draft the right answer."""
    reason: Text = None
    rating: int | None = Field(default=None, ge=1, le=5)
    seconds: float | None = Field(default=None, ge=0, le=1e7)


class HandoffBody(BaseModel):
    """A hand-off is taken, closed or opened again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Literal["open", "taken", "closed"]


class SentBody(BaseModel):
    """Turns that have arrived at head office, as `GET /v1/outbox` named them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Annotated[str, Field(max_length=100)], ...] = Field(max_length=1000)


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v1")

    @router.post("/ask", response_model=None, openapi_extra=documented(AskRequest))
    async def ask(request: Request) -> EventStream:
        """Answer a question; the events of `runtime.events`, one JSON object a line."""
        desk = service.ready_desk()
        question = await read_body(request, AskRequest, 'send {"question": "…"}')
        try:
            await asyncio.to_thread(desk.admit, question)
        except InputError as error:
            raise OversizedError(error.what, hint=error.hint) from None

        def lines(event: Event) -> Iterator[bytes]:
            yield event.line()

        return EventStream(Answer(service, desk, question), "application/x-ndjson", lines)

    @router.get("/conversations")
    def conversations(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> dict[str, Any]:
        """The conversations last touched, newest first."""
        return {"conversations": service.ready_desk().journal.conversations(limit=limit)}

    @router.get("/conversations/search")
    def search(
        q: Annotated[str, Query(max_length=1000)], limit: Annotated[int, Query(ge=1, le=500)] = 20
    ) -> dict[str, Any]:
        """Past turns that hold every word of `q`."""
        return {"turns": [asdict(one) for one in service.ready_desk().journal.search(q, limit=limit)]}

    @router.get("/conversations/{conversation}")
    def conversation(conversation: Name) -> dict[str, Any]:
        """A conversation's turns, oldest first."""
        turns = service.ready_desk().journal.turns(conversation)
        if not turns:
            raise MissingError(f"no conversation '{conversation}'", hint="GET /v1/conversations lists them")
        return {"conversation": conversation, "turns": [_turn(turn) for turn in turns]}

    @router.post("/conversations/{conversation}/turns/{turn}/feedback", openapi_extra=documented(FeedbackBody))
    async def feedback(conversation: Name, turn: Number, request: Request) -> dict[str, bool]:
        """Accept, edit or reject a draft, or pass on the customer's rating."""
        desk = service.ready_desk()
        body = await read_body(request, FeedbackBody, 'send {"verdict": "accepted"}')
        caller: Caller = request.scope["caller"]
        said = Feedback(**body.model_dump(), agent=caller.name)
        await asyncio.to_thread(desk.journal.feed_back, TurnKey(conversation, turn), said)
        service.figures.feedback(body.verdict, body.rating)
        return {"ok": True}

    @router.get("/handoffs")
    def handoffs(
        state: Literal["open", "taken", "closed"] = "open", limit: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> dict[str, Any]:
        """Turns a person should take over, oldest first."""
        found = service.ready_desk().journal.handoffs(state=state, limit=limit)
        rows = [{**asdict(one), "conversation": one.key.conversation, "turn": one.key.number} for one in found]
        return {"handoffs": [{key: value for key, value in row.items() if key != "key"} for row in rows]}

    @router.post("/handoffs/{conversation}/{turn}", openapi_extra=documented(HandoffBody))
    async def change_handoff(conversation: Name, turn: Number, request: Request) -> dict[str, bool]:
        """Take, close or reopen a hand-off."""
        desk = service.ready_desk()
        body = await read_body(request, HandoffBody, 'send {"state": "taken"}')
        caller: Caller = request.scope["caller"]
        await asyncio.to_thread(desk.journal.change_handoff, TurnKey(conversation, turn), body.state, caller.name)
        return {"ok": True}

    @router.get("/outbox")
    def outbox(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, list[Leaving]]:
        """What would leave the branch: turns that have not, oldest first, redacted."""
        desk = service.ready_desk()
        return {"rows": [row for _, row in leaving(desk.journal, public=service.public_text, limit=limit)]}

    @router.post("/outbox/sent", openapi_extra=documented(SentBody))
    async def sent(request: Request) -> dict[str, int]:
        """These have arrived; a turn that changed since goes on waiting."""
        desk = service.ready_desk()
        body = await read_body(request, SentBody, 'send {"keys": ["…"]}')
        return {"sent": await asyncio.to_thread(arrived, desk.journal, set(body.keys))}

    return router


def _turn(turn: StoredTurn) -> dict[str, Any]:
    return {
        "turn": turn.key.number,
        "asked": turn.asked,
        "lang": turn.lang,
        "question": turn.question,
        "draft": turn.draft,
        "state": turn.state,
        "handoff": turn.handoff,
        "model": turn.model,
        "details": turn.details,
        "feedback": asdict(turn.feedback) if turn.feedback else None,
    }
