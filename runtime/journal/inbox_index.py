"""The order of the inbox, kept so that a page of it costs the same in a long journal as in a new one.

One row of `inbox` a conversation: its newest turn, its place in the order, and the status and tags it is looked for by.
`place` grows with every message, whatever the clock says: after a clock was set back, new conversations still come
first. All of it follows from other tables (`rebuild`); whoever changes those calls the function for it in the same
transaction. Knows nothing of what a status means.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable


def touch(db: sqlite3.Connection, conversation: str, number: int, touched: str) -> None:
    """A conversation has a new turn: it moves to the front, and is open again."""
    (place,) = db.execute("SELECT coalesce(max(place), 0) + 1 FROM inbox").fetchone()
    db.execute(
        "INSERT INTO inbox (conversation, number, place, touched) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " number = excluded.number, place = excluded.place, touched = excluded.touched,"
        " status = 'open', snooze_until = NULL",
        (conversation, number, place, touched),
    )
    db.execute("UPDATE inbox_tag SET place = ? WHERE conversation = ?", (place, conversation))


def set_status(db: sqlite3.Connection, conversation: str, status: str, snooze_until: str | None) -> None:
    """A conversation was opened, snoozed or closed."""
    db.execute(
        "UPDATE inbox SET status = ?, snooze_until = ? WHERE conversation = ?", (status, snooze_until, conversation)
    )


def set_tags(db: sqlite3.Connection, conversation: str, tags: Iterable[str]) -> None:
    """These are a conversation's tags now."""
    db.execute("DELETE FROM inbox_tag WHERE conversation = ?", (conversation,))
    db.executemany(
        "INSERT OR IGNORE INTO inbox_tag SELECT ?, ?, place FROM inbox WHERE conversation = ?",
        [(conversation, tag, conversation) for tag in tags],
    )


def forget(db: sqlite3.Connection, conversation: str) -> None:
    """Take a conversation out of the inbox."""
    db.execute("DELETE FROM inbox_tag WHERE conversation = ?", (conversation,))
    db.execute("DELETE FROM inbox WHERE conversation = ?", (conversation,))


def page(
    db: sqlite3.Connection, *, status: str | None, tag: str | None, limit: int, offset: int, now: str
) -> list[tuple[str, int]]:
    """Conversations with the number of their newest turn, the one last touched first.

    A conversation snoozed until `now` (ISO 8601, UTC) or earlier is open.
    """
    # A status of its own for each part: SQLite walks the index of (status, place) in order and stops at the limit.
    wanted = {
        None: ["1"],
        "open": ["inbox.status = 'open'", "inbox.status = 'snoozed' AND inbox.snooze_until <= :now"],
        "snoozed": ["inbox.status = 'snoozed' AND inbox.snooze_until > :now"],
        "closed": ["inbox.status = 'closed'"],
    }[status]
    if tag is None:
        parts = [f"SELECT conversation, number, place FROM inbox WHERE {part}" for part in wanted]  # noqa: S608
    else:
        # CROSS JOIN: SQLite keeps the order of the tables, and so walks the index of (tag, place).
        tagged = (
            "SELECT inbox.conversation, number, inbox_tag.place FROM inbox_tag CROSS JOIN inbox USING (conversation)"
        )
        either = " OR ".join(f"({part})" for part in wanted)
        parts = [f"{tagged} WHERE tag = :tag AND ({either})"]
    rows = db.execute(
        f"{' UNION ALL '.join(parts)} ORDER BY 3 DESC LIMIT :limit OFFSET :offset",
        {"now": now, "tag": tag, "limit": limit, "offset": offset},
    )
    return [(row[0], row[1]) for row in rows]


def rebuild(db: sqlite3.Connection) -> None:
    """Make the inbox anew from the turns and what is said of their conversations, in the order of their clocks."""
    db.execute("DELETE FROM inbox_tag")
    db.execute("DELETE FROM inbox")
    db.execute(
        "INSERT INTO inbox SELECT turn.conversation, max(number), row_number() OVER (ORDER BY max(asked), max(number)),"
        " max(asked), coalesce(status, 'open'), snooze_until FROM turn"
        " LEFT JOIN meta ON meta.conversation = turn.conversation GROUP BY turn.conversation"
    )
    for conversation, tags in db.execute("SELECT conversation, tags FROM meta").fetchall():
        set_tags(db, conversation, json.loads(tags))
