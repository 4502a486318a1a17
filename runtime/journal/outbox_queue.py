"""Turns that are not to leave the branch after all: those over the cap, and those that cannot leave as they are.

A turn in the outbox is `waiting`, `sent`, `dropped` (over the cap) or `aside` (it could not be read, or head office
refuses it). What changes a turn later makes it wait again. Promises: the turn itself stays in the journal; how many
were dropped is counted for good. Knows nothing of redaction and sockets.
"""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

from runtime.journal.journal import Journal, WaitingTurn

DropFirst = Literal["unjudged", "oldest", "newest"]
"""Which turns go when too many wait: first those that no agent judged or handed over, or by age alone."""
_DROPPED = "outbox dropped"
"""The setting that counts them; rows of the outbox go with their conversation."""
_WAITING = (
    "SELECT outbox.conversation, outbox.number FROM outbox JOIN turn USING (conversation, number)"
    " LEFT JOIN feedback USING (conversation, number) WHERE outbox.state = 'waiting'"
)
_ORDER: dict[DropFirst, str] = {
    "unjudged": "(feedback.conversation IS NOT NULL OR turn.handoff IS NOT NULL), outbox.changed",
    "oldest": "outbox.changed",
    "newest": "outbox.changed DESC",
}


class OutboxCounts(NamedTuple):
    """How many turns are where."""

    waiting: int
    aside: int
    dropped: int
    """Ever; those that changed later and wait again included."""


def outbox_counts(journal: Journal) -> OutboxCounts:
    """The state of the outbox."""
    with journal.reading() as db:
        rows = db.execute("SELECT state, count(*) FROM outbox WHERE state IN ('waiting', 'aside') GROUP BY state")
        states = dict(rows.fetchall())
        return OutboxCounts(states.get("waiting", 0), states.get("aside", 0), _dropped(db))


def drop_over_cap(journal: Journal, max_turns: int, first: DropFirst) -> int:
    """Let no more than `max_turns` wait, 0 = any number; returns how many were dropped."""
    if not max_turns:
        return 0
    with journal.transaction() as db:
        (waiting,) = db.execute("SELECT count(*) FROM outbox WHERE state = 'waiting'").fetchone()
        if waiting <= max_turns:
            return 0
        rows = db.execute(f"{_WAITING} ORDER BY {_ORDER[first]} LIMIT ?", (waiting - max_turns,)).fetchall()
        db.executemany("UPDATE outbox SET state = 'dropped' WHERE conversation = ? AND number = ?", rows)
        total = str(_dropped(db) + len(rows))
        db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?, ?)", (_DROPPED, total, journal.time()))
    return len(rows)


def set_aside(journal: Journal, turn: WaitingTurn) -> bool:
    """A turn that cannot leave as it is holds up no other; False when it changed meanwhile, and waits again."""
    with journal.transaction() as db:
        key = turn.key
        done = db.execute(
            "UPDATE outbox SET state = 'aside'"
            " WHERE conversation = ? AND number = ? AND revision = ? AND state = 'waiting'",
            (key.conversation, key.number, turn.revision),
        )
    return bool(done.rowcount)


def release_aside(journal: Journal) -> int:
    """Everything that was set aside waits again, since its cause was mended; returns how many."""
    with journal.transaction() as db:
        return db.execute("UPDATE outbox SET state = 'waiting' WHERE state = 'aside'").rowcount


def _dropped(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (_DROPPED,)).fetchone()
    return int(row[0]) if row else 0
