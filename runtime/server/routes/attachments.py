"""What stands in a picture, before it is used: the console shows it, and the agent sends what is right of it.

POST /v1/attachments/read     the file's bytes, ?name= for messages -> {kind, lines, entities, seconds, pages, cut}
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from runtime.perception.attachment import MOST_BYTES, attach
from runtime.server.request_bodies import read_bytes
from runtime.server.service import Service
from runtime.server.streams import run_while_connected

_BODY = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


def routes(service: Service) -> APIRouter:
    """The endpoint."""
    router = APIRouter(prefix="/v1")

    @router.post("/attachments/read", openapi_extra={"requestBody": _BODY})
    async def read(request: Request, name: Annotated[str, Query(max_length=255)] = "") -> dict[str, Any]:
        """Read an attachment. Nothing of it is stored or logged; asking about it is `POST /v1/ask`."""
        desk = service.ready_desk()
        with service.attachments.place():
            attachment = attach(await read_bytes(request, MOST_BYTES, "send a smaller file"), name)
            work = service.attachments.read(attachment, desk.personal_rules)
            found = await run_while_connected(work, request.receive)
        return found.model_dump(exclude_none=True)

    return router
