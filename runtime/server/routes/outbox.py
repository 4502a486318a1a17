"""What leaves the branch, for whoever takes it out: `edgedesk feedback`, or a program of the company's. Admins only.

GET  /v1/outbox            ?limit= &skip=: {rows, unreadable}, what would leave, redacted, oldest first
GET  /v1/outbox/about      the line about the branch that an export begins with
POST /v1/outbox/sent       {keys}: these have arrived
POST /v1/outbox/aside      {keys}: these cannot leave as they are
POST /v1/outbox/waiting    {keys}: which of them are there as they were
POST /v1/outbox/release    what was set aside waits again
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from runtime.bundle.generations import generations
from runtime.bundle.update_state import refused_titles
from runtime.feedback.export_file import ExportHeader
from runtime.feedback.outgoing import make_header
from runtime.journal.outbox import OutboxRow, acknowledge, outbox_page, put_aside, still_waiting
from runtime.journal.outbox_queue import release_aside
from runtime.server.request_bodies import documented, read_body
from runtime.server.service import Service

MAX_KEYS = 1000


class OutboxKeys(BaseModel):
    """Turns as `GET /v1/outbox` named them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Annotated[str, Field(max_length=100)], ...] = Field(max_length=MAX_KEYS)


class WaitingPage(BaseModel):
    """`GET /v1/outbox`."""

    model_config = ConfigDict(frozen=True)

    rows: tuple[OutboxRow, ...]
    unreadable: tuple[str, ...]
    """Keys of turns whose texts are damaged in the file."""


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v1/outbox")
    wanted = 'send {"keys": ["…"]}'

    @router.get("")
    def outbox(
        limit: Annotated[int, Query(ge=1, le=MAX_KEYS)] = 100, skip: Annotated[int, Query(ge=0, le=10**9)] = 0
    ) -> WaitingPage:
        """What would leave the branch: turns that have not, oldest first, redacted."""
        desk = service.ready_desk()
        page = outbox_page(
            desk.journal,
            public=service.public_text(),
            limit=limit,
            skip=skip,
            reasons=desk.hand_off_reasons,
            rules=desk.personal_rules,
        )
        return WaitingPage(rows=page.rows, unreadable=page.unreadable)

    @router.get("/about")
    def about() -> ExportHeader:
        """Who exports, and from what."""
        number = next((one.number for one in generations(service.home) if one.current), 0)
        journal = service.ready_desk().journal
        return make_header(
            journal,
            service.bundle,
            branch=service.settings.branch,
            generation=number,
            refused=refused_titles(service.home),
        )

    @router.post("/sent", openapi_extra=documented(OutboxKeys))
    async def sent(request: Request) -> dict[str, int]:
        """These have arrived; a turn that changed since goes on waiting."""
        journal = service.ready_desk().journal
        body = await read_body(request, OutboxKeys, wanted)
        return {"sent": await asyncio.to_thread(acknowledge, journal, body.keys)}

    @router.post("/aside", openapi_extra=documented(OutboxKeys))
    async def aside(request: Request) -> dict[str, int]:
        """These hold up no other turn any more."""
        journal = service.ready_desk().journal
        body = await read_body(request, OutboxKeys, wanted)
        return {"aside": await asyncio.to_thread(put_aside, journal, body.keys)}

    @router.post("/waiting", openapi_extra=documented(OutboxKeys))
    async def waiting(request: Request) -> dict[str, list[str]]:
        """Those that were neither forgotten nor changed."""
        journal = service.ready_desk().journal
        body = await read_body(request, OutboxKeys, wanted)
        return {"waiting": sorted(await asyncio.to_thread(still_waiting, journal, body.keys))}

    @router.post("/release")
    def release() -> dict[str, int]:
        """Try again what was set aside."""
        return {"released": release_aside(service.ready_desk().journal)}

    return router
