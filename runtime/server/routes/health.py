"""Whether the server lives, is ready, and what it counted: /livez, /readyz, /metrics, /v1/status."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from runtime.server.metrics import exposition
from runtime.server.service import Service


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter()

    @router.get("/livez")
    async def livez() -> dict[str, bool]:
        """200 as long as the process answers."""
        return {"ok": True}

    @router.get("/readyz")
    async def readyz() -> dict[str, bool]:
        """200 when questions are answered, else 503."""
        service.ready_desk()
        return {"ok": True}

    @router.get("/v1/status")
    async def status() -> dict[str, Any]:
        """What runs here."""
        return await asyncio.to_thread(service.status)  # it looks into the journal, which may be writing

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Figures in Prometheus' text format."""
        figures = exposition(
            service.metrics, ready=service.state == "ready", in_work=service.active, ahead=service.ahead()
        )
        return Response(figures, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
