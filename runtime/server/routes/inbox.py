"""The agents' inbox: how conversations stand, hand-offs with their cards, corrections, and what is being typed.

GET   /v1/conversations                                    ?status= &tag= &limit= &offset=
PATCH /v1/conversations/{conversation}                     {status, snooze_until, assignee, tags, notes, summary, …}
GET   /v1/conversations/{conversation}/composer            {text, revision}
PUT   /v1/conversations/{conversation}/composer            {text, revision}: 409 when somebody else wrote since
POST  /v1/conversations/{conversation}/turns/{turn}/labels {intent, emotion}: a person's word
GET   /v1/conversations/{conversation}/turns/{turn}/why    how the draft came about
GET   /v1/labels                                           the names of intents and emotions
GET   /v1/canned                                           ?lang=
GET   /v1/handoffs                                         ?state=open|taken|closed
POST  /v1/handoffs/{conversation}/{turn}                   {state, reason?}; who takes it is who asks
GET   /v1/handoffs/{conversation}/{turn}/card
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from runtime.desk.explanation import explain_turn
from runtime.desk.handoff_card import make_card
from runtime.errors import InputError, MissingError
from runtime.journal.inbox import Status
from runtime.journal.stored_turn import StoredTurn, TurnKey
from runtime.server.access import Caller
from runtime.server.request_bodies import documented, read_body
from runtime.server.routes.conversations import Name, Number
from runtime.server.service import Service

Tag = Annotated[str, Field(min_length=1, max_length=64)]
Lang = Annotated[str, Query(pattern=r"^[a-z]{2}$")]


class StandingBody(BaseModel):
    """What changes of a conversation; what is left out stays as it was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Status = "open"
    snooze_until: AwareDatetime | None = None
    """With the status `snoozed`."""
    assignee: str | None = Field(default=None, max_length=64)
    tags: tuple[Tag, ...] = Field(default=(), max_length=32)
    notes: str = Field(default="", max_length=20_000)
    """Seen by colleagues only."""
    summary: str = Field(default="", max_length=20_000)
    satisfaction: int | None = Field(default=None, ge=1, le=5)

    @model_validator(mode="after")
    def _ends(self) -> StandingBody:
        if (self.status == "snoozed") != (self.snooze_until is not None):
            raise ValueError("snoozed and snooze_until belong together")
        if self.snooze_until is not None and not 1970 < self.snooze_until.year < 9999:
            raise ValueError("snooze_until is no time of ours")  # and could not be told in UTC
        return self

    def changes(self) -> dict[str, Any]:
        """The fields given, as `runtime.journal.inbox.Standing` has them."""
        given = self.model_dump(include=self.model_fields_set)
        if self.snooze_until is not None:
            given["snooze_until"] = self.snooze_until.astimezone(UTC).isoformat(timespec="milliseconds")
        return given


class ComposerBody(BaseModel):
    """What is typed and not sent; `revision` is the one that was read before, 0 for the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(max_length=20_000)
    revision: int = Field(ge=0, lt=2**53)


class LabelBody(BaseModel):
    """A person's word on a turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: str | None = Field(default=None, min_length=1, max_length=64)
    emotion: str | None = Field(default=None, min_length=1, max_length=64)


class HandoffBody(BaseModel):
    """A hand-off is taken, closed or opened again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Literal["open", "taken", "closed"]
    reason: str | None = Field(default=None, pattern=r"^\w{1,64}$")
    """With the state `open`: hands over a turn that nobody had to answer so far."""


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v1")

    @router.get("/conversations")
    def conversations(
        status: Status | None = None,
        tag: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> dict[str, Any]:
        """The conversations, the one last touched first."""
        inbox = service.ready_desk().inbox
        page = inbox.conversations(status=status, tag=tag, limit=limit, offset=offset)
        return {"conversations": [one.as_dict() for one in page]}

    @router.patch("/conversations/{conversation}", openapi_extra=documented(StandingBody))
    async def change(conversation: Name, request: Request) -> dict[str, Any]:
        """Close, snooze, assign, tag, annotate or rate a conversation."""
        desk = service.ready_desk()
        body = await read_body(request, StandingBody, 'send {"status": "closed"}')
        caller: Caller = request.scope["caller"]
        now = await asyncio.to_thread(desk.inbox.change, conversation, body.changes(), caller.name)
        return {"conversation": conversation, **asdict(now)}

    @router.get("/conversations/{conversation}/composer")
    def composer(conversation: Name) -> dict[str, Any]:
        """What is typed and not sent; revision 0 where nothing ever was."""
        return asdict(service.ready_desk().inbox.composer(conversation))

    @router.put("/conversations/{conversation}/composer", openapi_extra=documented(ComposerBody))
    async def compose(conversation: Name, request: Request) -> dict[str, Any]:
        """Keep what is typed."""
        desk = service.ready_desk()
        body = await read_body(request, ComposerBody, 'send {"text": "…", "revision": 0}')
        return asdict(await asyncio.to_thread(desk.inbox.compose, conversation, body.text, body.revision))

    @router.get("/labels")
    def labels() -> dict[str, list[str]]:
        """The names that a correction may use."""
        return service.ready_desk().labels

    @router.post("/conversations/{conversation}/turns/{turn}/labels", openapi_extra=documented(LabelBody))
    async def label(conversation: Name, turn: Number, request: Request) -> dict[str, bool]:
        """Correct a turn's intent or emotion."""
        desk = service.ready_desk()
        body = await read_body(request, LabelBody, 'send {"emotion": "angry"}')
        for kind, given in (("intents", body.intent), ("emotions", body.emotion)):
            if given is not None and given not in desk.labels[kind]:
                raise InputError(f"'{given}' is none of the {kind}", hint="GET /v1/labels lists them")
        caller: Caller = request.scope["caller"]
        await asyncio.to_thread(
            desk.inbox.label, TurnKey(conversation, turn), intent=body.intent, emotion=body.emotion, agent=caller.name
        )
        return {"ok": True}

    @router.get("/conversations/{conversation}/turns/{turn}/why")
    def account(conversation: Name, turn: Number) -> dict[str, Any]:
        """How a draft came about."""
        desk = service.ready_desk()
        found = _turn(desk.journal.turns(conversation), conversation, turn)
        return {"conversation": conversation, **explain_turn(found, desk.retriever.section)}

    @router.get("/canned")
    def canned(lang: Lang = "en") -> dict[str, Any]:
        """Replies that agents insert, in a language; in the bundle's first one where that has none."""
        return {"canned": [one.model_dump() for one in service.ready_desk().policy(lang).canned]}

    @router.get("/handoffs")
    def handoffs(
        state: Literal["open", "taken", "closed"] = "open", limit: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> dict[str, Any]:
        """Turns a person should take over, oldest first."""
        found = service.ready_desk().inbox.handoffs(state=state, limit=limit)
        rows = [{**asdict(one), "conversation": one.key.conversation, "turn": one.key.number} for one in found]
        return {"handoffs": [{key: value for key, value in row.items() if key != "key"} for row in rows]}

    @router.post("/handoffs/{conversation}/{turn}", openapi_extra=documented(HandoffBody))
    async def change_handoff(conversation: Name, turn: Number, request: Request) -> dict[str, bool]:
        """Take, close or reopen a hand-off."""
        desk = service.ready_desk()
        body = await read_body(request, HandoffBody, 'send {"state": "taken"}')
        caller: Caller = request.scope["caller"]
        key = TurnKey(conversation, turn)
        if body.reason and body.state == "open":
            await asyncio.to_thread(desk.inbox.hand_off, key, body.reason, caller.name)
        else:
            await asyncio.to_thread(desk.inbox.change_handoff, key, body.state, caller.name)
        return {"ok": True}

    @router.get("/handoffs/{conversation}/{turn}/card")
    def handoff_card(conversation: Name, turn: Number) -> dict[str, Any]:
        """What a colleague must know to go on."""
        desk = service.ready_desk()
        one = desk.inbox.handoff(TurnKey(conversation, turn))
        return {
            "conversation": conversation,
            "turn": turn,
            "state": one.state,
            "agent": one.agent,
            "opened": one.opened,
            **asdict(make_card(desk.journal.turns(conversation), turn, desk.personal_rules)),
        }

    return router


def _turn(turns: list[StoredTurn], conversation: str, number: int) -> StoredTurn:
    found = next((turn for turn in turns if turn.key.number == number), None)
    if found is None:
        raise MissingError(f"no turn {number} in conversation {conversation}", hint="GET /v1/conversations lists them")
    return found
