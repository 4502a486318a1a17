"""The journal as an inbox: how conversations stand, who has what, what people say of a turn, and what is not sent yet.

Promises: whoever writes again is open again; a snooze ends by itself; two consoles that type into one conversation
cannot overwrite each other unseen; a correction leaves the branch with its turn. Knows nothing of models and sockets.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from runtime.errors import BusyError, MissingError
from runtime.journal import inbox_index
from runtime.journal.journal import Journal
from runtime.journal.queries import named_rows, stored_turns_of
from runtime.journal.stored_turn import StoredTurn, TurnKey

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


@dataclass(frozen=True)
class ListedConversation:
    """A conversation as a line of the inbox."""

    conversation: str
    started: str
    turns: int
    newest: StoredTurn
    handoff: str | None
    """Why a person must take over, while nobody has closed it."""
    standing: ConversationStatus

    @property
    def waiting(self) -> bool:
        """Whether the customer has no reply to the newest message."""
        return self.newest.reply is None and self.standing.status != "closed"

    def as_dict(self) -> dict[str, Any]:
        """The form the API sends."""
        return {
            "conversation": self.conversation,
            "started": self.started,
            "turns": self.turns,
            "asked": self.newest.asked,
            "lang": self.newest.lang,
            "question": self.newest.question,
            "state": self.newest.state,
            "handoff": self.handoff,
            "waiting": self.waiting,
            "intent": self.newest.intent,
            "emotion": self.newest.emotion,
            **asdict(self.standing),
        }


class Inbox:
    """The inbox of an open journal; as safe to call from several threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def standing(self, conversation: str) -> ConversationStatus:
        """How a conversation stands now; as a new one does where nobody said anything."""
        with self._journal.reading() as db:
            return _standing(db, conversation, self._journal.time())

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
            inbox_index.set_status(db, conversation, now.status, now.snooze_until)
            inbox_index.set_tags(db, conversation, now.tags)
        return now.at(self._journal.time())

    def conversations(
        self, *, status: Status | None = None, tag: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[ListedConversation]:
        """A page of the conversations, the one last touched first."""
        with self._journal.reading() as db:
            now = self._journal.time()
            page = inbox_index.page(db, status=status, tag=tag, limit=limit, offset=offset, now=now)
            return _listed(db, page, now)

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
                (conversation, revision + 1, self._journal.trusted_time(), text),
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


def _standing(db: sqlite3.Connection, conversation: str, now: str) -> ConversationStatus:
    return _standings(db, [conversation]).get(conversation, ConversationStatus()).at(now)


def _standings(db: sqlite3.Connection, conversations: Sequence[str]) -> dict[str, ConversationStatus]:
    """How some conversations stand; those nobody said anything of are left out."""
    columns = "conversation, status, snooze_until, assignee, tags, notes, summary, satisfaction"
    select = f"SELECT {columns} FROM meta WHERE conversation IN ({_marks(conversations)})"  # noqa: S608 - marks only
    cursor = db.execute(select, conversations)
    rows = {row.pop("conversation"): row for row in named_rows(cursor)}
    return {name: ConversationStatus(**{**row, "tags": tuple(json.loads(row["tags"]))}) for name, row in rows.items()}


def _listed(db: sqlite3.Connection, page: Sequence[tuple[str, int]], now: str) -> list[ListedConversation]:
    """Three reads for the whole page, however long it is."""
    names = [conversation for conversation, _ in page]
    newest, standings = stored_turns_of(db, page), _standings(db, names)
    tables = "conversation LEFT JOIN handoff ON handoff.conversation = id AND handoff.state IN ('open', 'taken')"
    select = f"SELECT id, started, handoff.number, reason FROM {tables} WHERE id IN ({_marks(names)})"  # noqa: S608
    cursor = db.execute(select, names)
    started, reasons = {}, {}
    for row in named_rows(cursor):
        started[row["id"]] = row["started"]
        reasons[row["id"], row["number"]] = row["reason"]
    return [
        ListedConversation(
            conversation=name,
            started=started[name],
            turns=number,
            newest=newest[name],
            handoff=reasons.get((name, number)),
            standing=standings.get(name, ConversationStatus()).at(now),
        )
        for name, number in page
    ]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _handoff(row: tuple[Any, ...]) -> Handoff:
    return Handoff(TurnKey(row[0], row[1]), *row[2:])


def _no_handoff(key: TurnKey) -> MissingError:
    return MissingError(f"no hand-off of turn {key.number} in conversation {key.conversation}")
