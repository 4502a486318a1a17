"""Asking, and what agents do with drafts: turns, feedback, search in past conversations.

POST /v1/ask                                       AskRequest -> NDJSON events (runtime.events); closing it cancels
GET  /v1/conversations/search                      ?q= &limit=
GET  /v1/conversations/{conversation}              its turns, with drafts, replies and feedback
POST /v1/conversations/{conversation}/turns        {text, lang, draft}: a customer's message; its draft can wait
POST /v1/conversations/{conversation}/turns/{turn}/feedback
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import InputError, MissingError
from runtime.events import AskRequest, Event
from runtime.journal.stored_turn import Feedback, StoredTurn, TurnKey
from runtime.server.access import Caller
from runtime.server.http_errors import OversizedError
from runtime.server.request_bodies import documented, read_body
from runtime.server.service import Service
from runtime.server.streams import AnswerStream, EventStream
from runtime.text.articles import guess_language

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


class MessageBody(BaseModel):
    """What a customer said, with no draft wanted now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(min_length=1, max_length=20_000)
    lang: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    draft: bool = False
    """Whether a draft is to be there when an agent opens it: written while nobody waits, stored when it is whole."""


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v1")

    @router.post("/ask", response_model=None, openapi_extra=documented(AskRequest))
    async def ask(request: Request) -> EventStream:
        """Answer a question; the events of `runtime.events`, one JSON object a line."""
        desk = service.ready_desk()
        service.require_place()
        given = await read_body(request, AskRequest, 'send {"question": "…"}')
        question = service.for_caller(given, request.scope["caller"])
        try:
            await asyncio.to_thread(desk.check_question, question)
        except InputError as error:
            raise OversizedError(error.what, hint=error.hint) from None

        def lines(event: Event | None) -> Iterator[bytes]:
            if event is not None:
                yield event.line()

        return EventStream(
            AnswerStream(service, desk, question, request.scope["caller"].name), "application/x-ndjson", lines
        )

    @router.get("/conversations/search")
    def search(
        q: Annotated[str, Query(max_length=1000)], limit: Annotated[int, Query(ge=1, le=500)] = 20
    ) -> dict[str, Any]:
        """Past turns that hold every word of `q`."""
        return {"turns": [asdict(one) for one in service.ready_desk().journal.search(q, limit=limit)]}

    @router.get("/conversations/{conversation}")
    def conversation(conversation: Name) -> dict[str, Any]:
        """A conversation's turns, oldest first, and how it stands."""
        desk = service.ready_desk()
        turns = desk.journal.turns(conversation)
        if not turns:
            raise MissingError(f"no conversation '{conversation}'", hint="GET /v1/conversations lists them")
        return {
            "conversation": conversation,
            **asdict(desk.inbox.standing(conversation)),
            "turns": [_turn(turn, newest=turn is turns[-1]) for turn in turns],
        }

    @router.post("/conversations/{conversation}/turns", openapi_extra=documented(MessageBody))
    async def note(conversation: Name, request: Request) -> dict[str, Any]:
        """Store a customer's message; its draft, where one is wanted, comes while nobody waits."""
        desk = service.ready_desk()
        service.check_name(request.scope["caller"], conversation)
        body = await read_body(request, MessageBody, 'send {"text": "…"}')
        lang = body.lang or guess_language(body.text)
        key = await asyncio.to_thread(desk.journal.note, conversation, body.text, lang)
        if body.draft:
            caller: Caller = request.scope["caller"]
            question = service.for_caller(AskRequest(question=body.text, conversation=conversation, lang=lang), caller)
            service.inbox_drafts.want(desk, key, question, agent=caller.name)
        return {"conversation": key.conversation, "turn": key.number, "lang": lang}

    @router.post("/conversations/{conversation}/turns/{turn}/feedback", openapi_extra=documented(FeedbackBody))
    async def feedback(conversation: Name, turn: Number, request: Request) -> dict[str, bool]:
        """Accept, edit or reject a draft, or pass on the customer's rating."""
        desk = service.ready_desk()
        body = await read_body(request, FeedbackBody, 'send {"verdict": "accepted"}')
        caller: Caller = request.scope["caller"]
        said = Feedback(**body.model_dump(), agent=caller.name)
        await asyncio.to_thread(desk.journal.feed_back, TurnKey(conversation, turn), said)
        service.metrics.feedback(body.verdict, body.rating)
        return {"ok": True}

    return router


def _turn(turn: StoredTurn, *, newest: bool) -> dict[str, Any]:
    return {
        "turn": turn.key.number,
        "asked": turn.asked,
        "ended": turn.ended,
        "lang": turn.lang,
        "question": turn.question,
        "draft": turn.draft,
        "reply": turn.reply,
        "retired": turn.reply is not None or not newest,
        "state": turn.state,
        "handoff": turn.handoff,
        "model": turn.model,
        "intent": turn.intent,
        "emotion": turn.emotion,
        "label": asdict(turn.label) if turn.label else None,
        "details": turn.details.model_dump(mode="json"),
        "feedback": asdict(turn.feedback) if turn.feedback else None,
    }
