"""The list of conversations: one row each, in the order an agent should see them.

Promises: pure; a snoozed conversation comes back by itself when its time has come. Knows nothing of widgets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from runtime.client.answers import ConversationRow


@dataclass(frozen=True)
class InboxRow:
    """One conversation of the inbox."""

    conversation: str
    asked: str
    """When its newest message came: ISO 8601, UTC."""
    question: str
    lang: str = ""
    turns: int = 0
    state: str = ""
    """Of its newest turn, as the journal says it."""
    status: str = "open"
    """`open`, `snoozed` or `closed`."""
    snooze_until: str = ""
    tags: tuple[str, ...] = ()
    notes: bool = False
    handoff: str = ""
    waiting: bool = True
    """Whether nobody has answered the newest message yet."""

    @property
    def practice(self) -> bool:
        """Whether its customer is a simulated one, whom nobody counts."""
        return self.conversation.startswith("practice-")

    @property
    def waits(self) -> str:
        """What it waits for, as a name in the catalogue (`inbox.<name>`)."""
        if self.practice:
            return "practice"
        if self.status in ("closed", "snoozed"):
            return self.status
        if self.handoff:
            return "handoff"
        if not self.waiting:
            return "answered"
        return {"open": "writing", "complete": "draft", "failed": "failed"}.get(self.state, "cut")


def read_row(row: ConversationRow) -> InboxRow:
    """A row of `GET /v1/conversations`."""
    return InboxRow(
        conversation=row.conversation,
        asked=row.asked,
        question=row.question,
        lang=row.lang,
        turns=row.turns,
        state=row.state,
        status=row.status,
        snooze_until=row.snooze_until or "",
        tags=row.tags,
        notes=bool(row.notes),
        handoff=row.handoff or "",
        waiting=row.waiting,
    )


def arrange(rows: Iterable[InboxRow], now: str) -> tuple[InboxRow, ...]:
    """Open ones first, newest first; then snoozed ones by when they wake, then closed ones.

    `now`: ISO time, as `asked`.
    """
    awake = [_woken(row, now) for row in rows]
    order = {"open": 0, "snoozed": 1, "closed": 2}
    snoozed = sorted((row for row in awake if row.status == "snoozed"), key=lambda row: row.snooze_until)
    rest = sorted((row for row in awake if row.status != "snoozed"), key=lambda row: row.asked, reverse=True)
    return tuple(sorted([*rest, *snoozed], key=lambda row: order.get(row.status, 0)))


def _woken(row: InboxRow, now: str) -> InboxRow:
    due = row.status == "snoozed" and row.snooze_until and row.snooze_until <= now
    return replace(row, status="open") if due else row
