"""Which of the branch's corrections the model in use answers right.

GET /v1/receipt    {release, corrections, passed, own: [{conversation, turn, question, reply, passes}]}
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from runtime.feedback.own_receipt import own_receipt
from runtime.server.service import Service


def routes(service: Service) -> APIRouter:
    """The endpoint."""
    router = APIRouter(prefix="/v1")

    @router.get("/receipt")
    def receipt() -> dict[str, Any]:
        """Corrections of all branches by number, and this branch's own."""
        desk = service.ready_desk()
        return asdict(own_receipt(desk.bundle, desk.journal))

    return router
