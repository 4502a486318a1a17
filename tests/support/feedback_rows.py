"""Rows as they leave a branch."""

from __future__ import annotations

from typing import Any

from runtime.journal.outbox import OutboxRow


def row(turn: int, conversation: str = "c", **fields: Any) -> OutboxRow:
    """A turn that nobody judged, with some of its fields replaced."""
    revision = fields.get("revision", 1)
    return OutboxRow.model_validate(
        {
            "key": f"{conversation}/{turn}/{revision}",
            "conversation": conversation,
            "turn": turn,
            "revision": revision,
            "asked": "2026-11-30T09:00:00.000+00:00",
            "lang": "en",
            "question": "How long?",
            "draft": "You have 30 days.",
            "state": "complete",
            "model": "shop 1",
            **fields,
        }
    )
