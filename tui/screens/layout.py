"""Which panes a terminal has room for. Pure."""

from __future__ import annotations

from typing import Final

PANES: Final = ("inbox", "talk", "assist")
THREE_COLUMNS: Final = 120
"""From this width on all three stand side by side."""
TWO_COLUMNS: Final = 96
"""From this width on two: the conversation, and the one that was chosen last."""


def visible_panes(width: int, chosen: str) -> tuple[str, ...]:
    """The panes to show, from left to right; `chosen` is always one of them."""
    if width >= THREE_COLUMNS:
        return PANES
    if width >= TWO_COLUMNS:
        return ("inbox", "talk") if chosen == "inbox" else ("talk", "assist")
    return (chosen,)


def next_pane(pane: str) -> str:
    """The next one, round and round."""
    return PANES[(PANES.index(pane) + 1) % len(PANES)]
