"""Reads that need more than one row of the journal: a conversation's turns, and counts over all of them.

Each takes a connection, so that a second process may ask the same of a journal it only reads
(`runtime.journal.maintenance.open_reading`). Promises: writes nothing.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from runtime.journal.stored_turn import Feedback, Label, StoredTurn, TurnKey
from runtime.journal.turn_details import TurnDetails

_DETAILS = "CASE WHEN json_valid(details) THEN details ELSE '{}' END"
"""A turn whose details are damaged counts for nothing; SQLite would end the whole query with an error."""


class TurnOutcome(NamedTuple):
    """What became of one turn of an A/B test."""

    arm: str
    conversation: str
    verdict: str | None
    rating: int | None
    seconds: float | None
    handoff: str | None


def named_rows(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """Rows by the names of their columns.

    Stands in for `sqlite3.Row`, which refuses the cursors of an encrypted journal (`sqlcipher3` has its own).
    """
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_TURNS = (
    "SELECT turn.conversation, turn.number, lang, question, draft, state, handoff, model, details, asked, ended,"
    " label.at AS labelled, label.intent, label.emotion, label.agent AS label_agent,"
    " feedback.at AS fed_back, verdict, reply, reason, rating, seconds, feedback.agent AS feedback_agent"
    " FROM turn LEFT JOIN feedback USING (conversation, number) LEFT JOIN label USING (conversation, number)"
)


def stored_turns(db: sqlite3.Connection, conversation: str, newest: int | None = None) -> list[StoredTurn]:
    """A conversation's turns, or so many of the `newest`, oldest first; empty when there is no such conversation."""
    cursor = db.execute(
        f"{_TURNS} WHERE turn.conversation = ? ORDER BY turn.number DESC LIMIT ?",
        (conversation, -1 if newest is None else newest),
    )
    return [_stored_turn(row) for row in reversed(named_rows(cursor))]


def stored_turns_of(db: sqlite3.Connection, keys: Sequence[tuple[str, int]]) -> dict[str, StoredTurn]:
    """One turn of each of some conversations, given as (conversation, number), by conversation."""
    if not keys:
        return {}
    values = ", ".join(["(?, ?)"] * len(keys))
    cursor = db.execute(
        # CROSS JOIN: the few keys come first, and each finds its turn by the primary key.
        f"WITH wanted (conversation, number) AS (VALUES {values})"
        f" {_TURNS.replace('FROM turn', 'FROM wanted CROSS JOIN turn USING (conversation, number)')}",
        [value for key in keys for value in key],
    )
    return {turn.key.conversation: turn for turn in map(_stored_turn, named_rows(cursor))}


def count_citations(db: sqlite3.Connection) -> Counter[str]:
    """How often the branch's answers cited each section, by `article#section`."""
    rows = db.execute(
        f"SELECT value, count(*) FROM turn, json_each({_DETAILS}, '$.citations') GROUP BY value"  # noqa: S608 - ours
    )
    return Counter(dict(rows.fetchall()))


def experiment_outcomes(db: sqlite3.Connection, name: str) -> list[TurnOutcome]:
    """What became of the turns that took part in an A/B test."""
    rows = db.execute(
        f"SELECT json_extract({_DETAILS}, '$.arm'), turn.conversation, verdict, rating, seconds, handoff"  # noqa: S608
        " FROM turn LEFT JOIN feedback USING (conversation, number)"
        f" WHERE json_extract({_DETAILS}, '$.experiment') = ?",
        (name,),
    )
    return [TurnOutcome(*row) for row in rows]


def _stored_turn(row: dict[str, Any]) -> StoredTurn:
    label = Label(row["intent"], row["emotion"], row["label_agent"])
    feedback = Feedback(
        verdict=row["verdict"],
        reply=row["reply"],
        reason=row["reason"],
        rating=row["rating"],
        seconds=row["seconds"],
        agent=row["feedback_agent"],
        at=row["fed_back"],
    )
    return StoredTurn(
        key=TurnKey(row["conversation"], row["number"]),
        lang=row["lang"],
        question=row["question"],
        draft=row["draft"],
        state=row["state"],
        handoff=row["handoff"],
        model=row["model"],
        details=TurnDetails.from_json(row["details"]),
        asked=row["asked"],
        ended=row["ended"],
        label=label if row["labelled"] is not None else None,
        feedback=feedback if row["fed_back"] is not None else None,
    )
