"""The journal as an inbox: how conversations stand, who has what, what people say of a turn, and what is not sent yet.

Promises: whoever writes again is open again; a snooze ends by itself; two consoles that type into one conversation
cannot overwrite each other unseen; a correction leaves the branch with its turn. Knows nothing of models and sockets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from runtime.errors import BusyError, MissingError
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import TurnKey

Status = Literal["open", "snoozed", "closed"]
HandoffState = Literal["open", "taken", "closed"]


@dataclass(frozen=True)
class Handoff:
    """A turn that a person should take over."""

    key: TurnKey
    reason: str
    opened: str
    state: HandoffState
    agent: str | None


@dataclass(frozen=True)
class ConversationStatus:
    """How a conversation stands; none of it is told to the model or the customer."""

    status: Status = "open"
    snooze_until: str | None = None
    """ISO 8601, UTC; open again from then on."""
    assignee: str | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""
    summary: str = ""
    """What it came to, when it was closed."""
    satisfaction: int | None = None
    """The customer's, 1 to 5."""

    def at(self, now: str) -> ConversationStatus:
        """How it stands at a time, both ISO 8601 in UTC."""
        over = self.status == "snoozed" and self.snooze_until is not None and self.snooze_until <= now
        return replace(self, status="open", snooze_until=None) if over else self


@dataclass(frozen=True)
class ComposerText:
    """What is typed and not sent; `revision` grows with every change, 0 = never written."""

    text: str = ""
    revision: int = 0


class Inbox:
    """The inbox of an open journal; as safe to call from several threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def standing(self, conversation: str) -> ConversationStatus:
        """How a conversation stands now; as a new one does where nobody said anything."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT status, snooze_until, assignee, tags, notes, summary, satisfaction FROM meta"
                " WHERE conversation = ?",
                (conversation,),
            ).fetchone()
        return (_standing(row) if row else ConversationStatus()).at(self._journal.time())

    def change(self, conversation: str, changes: dict[str, Any], agent: str) -> ConversationStatus:
        """Change some fields of `ConversationStatus`; `MissingError` when there is no such conversation."""
        with self._journal.transaction() as db:
            if not db.execute("SELECT 1 FROM conversation WHERE id = ?", (conversation,)).fetchone():
                raise MissingError(f"no conversation '{conversation}'", hint="GET /v1/conversations lists them")
            now = replace(self.standing(conversation), **changes)
            if now.status != "snoozed":
                now = replace(now, snooze_until=None)
            db.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    conversation, self._journal.time(), agent, now.status, now.snooze_until, now.assignee,
                    json.dumps(now.tags, ensure_ascii=False), now.notes, now.summary, now.satisfaction,
                ),
            )  # fmt: skip
        return now.at(self._journal.time())

    def conversations(
        self, *, status: Status | None = None, tag: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Conversations, the one last touched first: their standing, newest turn, and whether somebody waits."""
        rows = list(self._rows())
        kept = [row for row in rows if status in (None, row["status"]) and (tag is None or tag in row["tags"])]
        return kept[offset : offset + limit]

    def _rows(self) -> Iterator[dict[str, Any]]:
        with self._journal.reading() as db:
            now = self._journal.time()
            rows = db.execute(
                "SELECT id, started, turn.number, asked, lang, question, turn.state, details, handoff.reason,"
                " handoff.state, coalesce(verdict, '') != 'rejected' AND (reply IS NOT NULL OR verdict = 'accepted'),"
                " label.intent, label.emotion,"
                " status, snooze_until, assignee, tags, notes, summary, satisfaction FROM conversation JOIN turn"
                " ON turn.conversation = id AND turn.number ="
                " (SELECT max(number) FROM turn AS later WHERE later.conversation = id)"
                " LEFT JOIN feedback ON feedback.conversation = id AND feedback.number = turn.number"
                " LEFT JOIN handoff ON handoff.conversation = id AND handoff.number = turn.number"
                " LEFT JOIN label ON label.conversation = id AND label.number = turn.number"
                " LEFT JOIN meta ON meta.conversation = id"
                " ORDER BY asked DESC"
            ).fetchall()
        for row in rows:
            said = json.loads(row[7])
            standing = (ConversationStatus() if row[13] is None else _standing(row[13:])).at(now)
            yield {
                "conversation": row[0],
                "started": row[1],
                "turns": row[2],
                "asked": row[3],
                "lang": row[4],
                "question": row[5],
                "state": row[6],
                "handoff": row[8] if row[9] in ("open", "taken") else None,
                "waiting": not row[10] and standing.status != "closed",
                "intent": row[11] or said.get("intent"),
                "emotion": row[12] or said.get("emotion"),
                **asdict(standing),
            }

    def label(self, key: TurnKey, *, intent: str | None, emotion: str | None, agent: str) -> None:
        """Take down a person's word on a turn's intent and emotion; what is None stays as it was."""
        with self._journal.transaction() as db:
            self._journal.need(key)
            db.execute(
                "INSERT INTO label VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET at = excluded.at,"
                " agent = excluded.agent, intent = coalesce(excluded.intent, intent),"
                " emotion = coalesce(excluded.emotion, emotion)",
                (key.conversation, key.number, self._journal.time(), agent, intent, emotion),
            )
            self._journal.enqueue(key)

    def composer(self, conversation: str) -> ComposerText:
        """What is typed in a conversation, which need not have begun."""
        with self._journal.reading() as db:
            row = db.execute("SELECT text, revision FROM composer WHERE conversation = ?", (conversation,)).fetchone()
        return ComposerText(*row) if row else ComposerText()

    def compose(self, conversation: str, text: str, revision: int) -> ComposerText:
        """Keep what is typed; `revision` is the one that was read. `BusyError` when somebody else wrote since."""
        with self._journal.transaction() as db:
            known = self.composer(conversation)
            if known.revision != revision:
                raise BusyError(
                    f"the text has changed since revision {revision}, it is at {known.revision}",
                    hint="read it again before writing",
                )
            db.execute(
                "INSERT OR REPLACE INTO composer VALUES (?, ?, ?, ?)",
                (conversation, revision + 1, self._journal.time(), text),
            )
        return ComposerText(text, revision + 1)

    def handoffs(self, *, state: HandoffState | None = "open", limit: int = 100) -> list[Handoff]:
        """Hand-offs, oldest first; with `state` None all of them."""
        with self._journal.reading() as db:
            rows = db.execute(
                "SELECT conversation, number, reason, opened, state, agent FROM handoff"
                " WHERE ? IN (state, 'all') ORDER BY opened LIMIT ?",
                (state or "all", limit),
            ).fetchall()
        return [_handoff(row) for row in rows]

    def handoff(self, key: TurnKey) -> Handoff:
        """One hand-off; `MissingError` when there is none."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT conversation, number, reason, opened, state, agent FROM handoff"
                " WHERE conversation = ? AND number = ?",
                (key.conversation, key.number),
            ).fetchone()
        if row is None:
            raise _no_handoff(key)
        return _handoff(row)

    def hand_off(self, key: TurnKey, reason: str, agent: str) -> None:
        """A person hands a turn over; where it was handed over already it is open again, with its first reason."""
        with self._journal.transaction() as db:
            self._journal.need(key)
            db.execute(
                "INSERT INTO handoff VALUES (?, ?, ?, ?, 'open', NULL, ?) ON CONFLICT DO UPDATE SET"
                " state = 'open', agent = ?, changed = excluded.changed",
                (key.conversation, key.number, reason, self._journal.time(), self._journal.time(), agent),
            )
            db.execute(
                "UPDATE turn SET handoff = coalesce(handoff, ?) WHERE conversation = ? AND number = ?",
                (reason, key.conversation, key.number),
            )
            self._journal.enqueue(key)

    def change_handoff(self, key: TurnKey, state: HandoffState, agent: str) -> None:
        """Take, close or reopen a hand-off; `MissingError` when there is none."""
        with self._journal.transaction() as db:
            done = db.execute(
                "UPDATE handoff SET state = ?, agent = ?, changed = ? WHERE conversation = ? AND number = ?",
                (state, agent, self._journal.time(), key.conversation, key.number),
            )
            if done.rowcount != 1:
                raise _no_handoff(key)


def _standing(row: tuple[Any, ...]) -> ConversationStatus:
    status, snooze_until, assignee, tags, notes, summary, satisfaction = row
    return ConversationStatus(status, snooze_until, assignee, tuple(json.loads(tags)), notes, summary, satisfaction)


def _handoff(row: tuple[Any, ...]) -> Handoff:
    return Handoff(TurnKey(row[0], row[1]), *row[2:])


def _no_handoff(key: TurnKey) -> MissingError:
    return MissingError(f"no hand-off of turn {key.number} in conversation {key.conversation}")
