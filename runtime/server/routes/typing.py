"""What is being typed, so that it is read and answered before Enter: `runtime.desk.prefetch`.

POST /v1/typing  {text, conversation?, lang?, paused?} -> {conversation, state, tokens, written}; no text drops it
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from runtime.desk.prefetch import TypingRequest
from runtime.server.access import Caller
from runtime.server.request_bodies import documented, read_body
from runtime.server.service import Service


def routes(service: Service) -> APIRouter:
    """The endpoint."""
    router = APIRouter(prefix="/v1")

    @router.post("/typing", openapi_extra=documented(TypingRequest))
    async def typing(request: Request) -> dict[str, Any]:
        """Read and answer ahead; send it again when a word more is there. Nothing of it is stored or logged."""
        desk = service.ready_desk()
        typed = await read_body(request, TypingRequest, 'send {"text": "…"}')
        caller: Caller = request.scope["caller"]
        allowed = typed.model_copy(update={"audience": service.audience_for(caller, typed.audience)})
        return asdict(await asyncio.to_thread(desk.read_ahead, allowed, agent=caller.name))

    return router
