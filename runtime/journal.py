"""The journal: every question and answer of the branch, in SQLite, safe against kills and power cuts.

Promises: when `ask` returns, the customer's message is on disk; a draft that was being written when the process was
killed is kept and marked `partial` the next time; the file is owner-only. One connection writes (two may corrupt a WAL
in SQLite before 3.51.3), so whoever opens a journal must hold the home's lock. Knows nothing of models and sockets.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from runtime.errors import IntegrityError, MissingError, SpaceError

FILE_NAME = "journal.sqlite"

State = Literal["open", "complete", "cancelled", "failed", "partial"]
"""`open` while it is answered; `partial` when the process died before it could say how it ended."""


class Migration(NamedTuple):
    """A change of the tables, and why it is made. Applied in order, once, each in its own transaction."""

    why: str
    sql: str


MIGRATIONS = (
    Migration(
        "Conversations with numbered turns: the question, the draft as the desk wrote it, and how it ended.",
        """
        CREATE TABLE conversation (
            id TEXT PRIMARY KEY,
            started TEXT NOT NULL
        ) STRICT;
        CREATE TABLE turn (
            conversation TEXT NOT NULL REFERENCES conversation (id),
            number INTEGER NOT NULL,
            asked TEXT NOT NULL,
            lang TEXT NOT NULL,
            question TEXT NOT NULL,
            draft TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'complete', 'cancelled', 'failed', 'partial')),
            handoff TEXT,
            model TEXT NOT NULL DEFAULT '',
            details TEXT NOT NULL DEFAULT '{}',
            ended TEXT,
            PRIMARY KEY (conversation, number)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
)


@dataclass(frozen=True)
class TurnKey:
    """Names a turn."""

    conversation: str
    number: int


@dataclass(frozen=True)
class StoredTurn:
    """A turn as the journal keeps it."""

    key: TurnKey
    lang: str
    question: str
    draft: str
    state: State
    handoff: str | None
    model: str
    details: dict[str, Any]
    """What the turn took and what it cites; shape belongs to the desk."""


class Journal:
    """An open journal. Safe to call from several threads; use `close`, or `with`."""

    def __init__(self, path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self._now = now
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made by us with its mode: SQLite gives the log beside it the same one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._errors():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                self._migrate()
                self._db.execute("UPDATE turn SET state = 'partial', ended = ? WHERE state = 'open'", (self._time(),))
        except BaseException:
            self._db.close()
            raise

    def ask(self, conversation: str | None, question: str, lang: str) -> TurnKey:
        """Store a customer's message before anything is done about it; begins a conversation when none is named."""
        with self._transaction():
            name = conversation or uuid4().hex
            self._db.execute("INSERT OR IGNORE INTO conversation VALUES (?, ?)", (name, self._time()))
            (last,) = self._db.execute(
                "SELECT coalesce(max(number), 0) FROM turn WHERE conversation = ?", (name,)
            ).fetchone()
            self._db.execute(
                "INSERT INTO turn (conversation, number, asked, lang, question) VALUES (?, ?, ?, ?, ?)",
                (name, last + 1, self._time(), lang, question),
            )
        return TurnKey(name, last + 1)

    def draft(self, key: TurnKey, text: str) -> None:
        """Store the draft so far."""
        with self._transaction():
            self._change(key, "draft = ?", text)

    def end(
        self,
        key: TurnKey,
        state: State,
        draft: str,
        *,
        handoff: str | None = None,
        model: str = "",
        details: dict[str, Any] | None = None,
    ) -> None:
        """Store how a turn ended, with the draft as far as it came."""
        said = json.dumps(details or {}, ensure_ascii=False)
        with self._transaction():
            self._change(
                key,
                "draft = ?, state = ?, handoff = ?, model = ?, details = ?, ended = ?",
                draft, state, handoff, model, said, self._time(),
            )  # fmt: skip

    def turns(self, conversation: str) -> list[StoredTurn]:
        """A conversation's turns, oldest first; empty when there is no such conversation."""
        with self._lock, self._errors():
            rows = self._db.execute(
                "SELECT conversation, number, lang, question, draft, state, handoff, model, details FROM turn"
                " WHERE conversation = ? ORDER BY number",
                (conversation,),
            ).fetchall()
        return [
            StoredTurn(
                key=TurnKey(row[0], row[1]),
                lang=row[2],
                question=row[3],
                draft=row[4],
                state=row[5],
                handoff=row[6],
                model=row[7],
                details=json.loads(row[8]),
            )
            for row in rows
        ]

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(self, key: TurnKey, columns: str, *values: object) -> None:
        sql = f"UPDATE turn SET {columns} WHERE conversation = ? AND number = ?"  # noqa: S608 - columns are ours
        if self._db.execute(sql, (*values, key.conversation, key.number)).rowcount != 1:
            raise MissingError(f"no turn {key.number} in conversation {key.conversation}", where=str(self.path))

    def _migrate(self) -> None:
        (done,) = self._db.execute("PRAGMA user_version").fetchone()
        if done > len(MIGRATIONS):
            raise IntegrityError(
                f"the journal was written by a newer Edgedesk (format {done}, known are {len(MIGRATIONS)})",
                where=str(self.path),
                hint="update Edgedesk",
            )
        for number, migration in enumerate(MIGRATIONS[done:], start=done + 1):
            # executescript commits what is open, so the transaction has to be in the script.
            self._db.executescript(f"BEGIN; {migration.sql} PRAGMA user_version = {number}; COMMIT;")

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL:
                raise SpaceError(
                    "the disk is full; the message was not stored", where=str(self.path), hint="free space, ask again"
                ) from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise IntegrityError(
                    "the journal is damaged", where=str(self.path), hint="move it away, keep it, and start again"
                ) from error
            raise
