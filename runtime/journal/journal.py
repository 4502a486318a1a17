"""The journal: every question, draft and reply of the branch, in SQLite, safe against kills and power cuts.

Promises: when `ask` returns, the customer's message is on disk; a draft that was being written when the process was
killed is kept and marked `partial` the next time; a turn and its place in the outbox are stored together or not at
all; a damaged file is put aside whole and what can be read of it goes on (`salvaged`); the file is owner-only. One
connection writes (two may corrupt a WAL in SQLite before 3.51.3), so whoever opens a journal must hold the home's lock;
to read beside it, use `runtime.journal.maintenance.open_reading`. Knows nothing of models and sockets.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from runtime.errors import IntegrityError, MissingError, SpaceError
from runtime.journal.encryption import connect, database_errors, require_key
from runtime.journal.maintenance import Recovery, RetentionReport, apply_retention, is_sound, quarantine, recover
from runtime.journal.queries import count_citations, stored_turns
from runtime.journal.schema import MIGRATIONS, migrate
from runtime.journal.search import FoundTurn, index_turn, search
from runtime.journal.stored_turn import Feedback, State, StoredTurn, TurnKey
from runtime.journal.turn_details import TurnDetails

FILE_NAME = "journal.sqlite"

PRACTICE = "practice-"
"""How the name of a conversation begins that an agent practises in: it never leaves the branch."""


class Journal:
    """An open journal. Safe to call from several threads; use `close`, or `with`."""

    def __init__(
        self, path: Path, *, key: str | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Open or begin a journal; with a `key` (`runtime.journal.encryption`) it is encrypted."""
        self.path = path
        self._now = now
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        require_key(path, key)
        # Made by us with its mode: SQLite gives the log beside it the same one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        self.salvaged: Recovery | None = None
        aside = None if is_sound(path, key) else quarantine(path, now())
        if aside:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._db = connect(path, key)
        try:
            with self._errors():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                self._db.execute("PRAGMA secure_delete = ON")
                self._migrate()
                if aside:
                    self.salvaged = recover(aside, self._db, key)
                self._end_cut_turns()
        except BaseException:
            self._db.close()
            raise

    def ask(self, conversation: str | None, question: str, lang: str) -> TurnKey:
        """Store a customer's message before anything is done about it; begins a conversation when none is named."""
        with self.transaction():
            name = conversation or uuid4().hex
            self._db.execute("INSERT OR IGNORE INTO conversation VALUES (?, ?)", (name, self.time()))
            (last,) = self._db.execute(
                "SELECT coalesce(max(number), 0) FROM turn WHERE conversation = ?", (name,)
            ).fetchone()
            self._db.execute(
                "INSERT INTO turn (conversation, number, asked, lang, question) VALUES (?, ?, ?, ?, ?)",
                (name, last + 1, self.time(), lang, question),
            )
            index_turn(self._db, name, last + 1)
            # Whoever writes again is not done with.
            self._db.execute("UPDATE meta SET status = 'open', snooze_until = NULL WHERE conversation = ?", (name,))
        return TurnKey(name, last + 1)

    def note(self, conversation: str | None, message: str, lang: str) -> TurnKey:
        """Store a customer's message that nobody drafts an answer to, such as while there is no model."""
        with self.transaction():
            key = self.ask(conversation, message, lang)
            self.end(key, "complete", "", details=TurnDetails(decided="agent"))
        return key

    def draft(self, key: TurnKey, text: str) -> None:
        """Store the draft so far."""
        with self.transaction():
            self._change(key, "draft = ?", text)

    def end(
        self,
        key: TurnKey,
        state: State,
        draft: str,
        *,
        handoff: str | None = None,
        model: str = "",
        details: TurnDetails | None = None,
    ) -> None:
        """Store how a turn ended, with the draft as far as it came."""
        stored = (details or TurnDetails()).to_json()
        with self.transaction():
            self._change(
                key,
                "draft = ?, state = ?, handoff = ?, model = ?, details = ?, ended = ?",
                draft, state, handoff, model, stored, self.time(),
            )  # fmt: skip
            self._ended(key)

    def feed_back(self, key: TurnKey, feedback: Feedback) -> None:
        """Store what became of a draft; what `feedback` leaves open stays as it was."""
        with self.transaction():
            self.need(key)
            self._db.execute(
                "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " at = excluded.at, agent = excluded.agent, verdict = coalesce(excluded.verdict, verdict),"
                " reply = coalesce(excluded.reply, reply), reason = coalesce(excluded.reason, reason),"
                " rating = coalesce(excluded.rating, rating), seconds = coalesce(excluded.seconds, seconds)",
                (
                    key.conversation, key.number, self.time(), feedback.agent, feedback.verdict, feedback.reply,
                    feedback.reason, feedback.rating, feedback.seconds,
                ),
            )  # fmt: skip
            self.enqueue(key)
            index_turn(self._db, key.conversation, key.number)

    def search(self, query: str, *, limit: int = 20) -> list[FoundTurn]:
        """Turns that hold every word of the query, best first (`runtime.journal.search`)."""
        with self._lock, self._errors():
            return search(self._db, query, limit)

    def waiting(self, limit: int) -> list[tuple[TurnKey, int]]:
        """Turns that have yet to leave the branch, oldest first, each with its revision; a negative `limit` is none."""
        with self._lock, self._errors():
            rows = self._db.execute(
                "SELECT conversation, number, revision FROM outbox WHERE state = 'waiting' ORDER BY changed LIMIT ?",
                (limit,),
            ).fetchall()
        return [(TurnKey(row[0], row[1]), row[2]) for row in rows]

    def count_waiting(self) -> int:
        """How many turns have yet to leave the branch."""
        with self._lock, self._errors():
            (count,) = self._db.execute("SELECT count(*) FROM outbox WHERE state = 'waiting'").fetchone()
        return int(count)

    def mark_sent(self, key: TurnKey, revision: int) -> None:
        """A turn has arrived at head office; one that changed since keeps waiting."""
        with self.transaction():
            self._db.execute(
                "UPDATE outbox SET state = 'sent' WHERE conversation = ? AND number = ? AND revision = ?",
                (key.conversation, key.number, revision),
            )

    def apply_retention(
        self, *, keep_days: int, redact_after_days: int, redactor: Callable[[], Callable[[str], str]]
    ) -> RetentionReport:
        """Forget what is old (`runtime.journal.maintenance.prune`), so that no byte of it stays in the files."""
        with self.transaction():
            done = apply_retention(
                self._db, self._now(), keep_days=keep_days, redact_after_days=redact_after_days, redactor=redactor
            )
            if done.deleted or done.redacted:
                # The full-text index only marks what was deleted until it is merged.
                self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        with self._lock, self._errors():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return done

    def turns(self, conversation: str) -> list[StoredTurn]:
        """A conversation's turns, oldest first; empty when there is no such conversation."""
        with self._lock, self._errors():
            return stored_turns(self._db, conversation)

    def count_citations(self) -> Counter[str]:
        """How often the branch's answers cited each section, by `article#section`."""
        with self._lock, self._errors():
            return count_citations(self._db)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, for `runtime.journal.inbox` too; nothing else writes meanwhile."""
        with self._lock, self._errors():
            within = self._db.in_transaction
            if within:  # a part of one that is under way in this thread
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """To read, while nobody writes."""
        with self._lock, self._errors():
            yield self._db

    def enqueue(self, key: TurnKey) -> None:
        """A turn has changed and will leave (again), unless it is practice; inside a transaction."""
        if key.conversation.startswith(PRACTICE):
            return
        self._db.execute(
            "INSERT INTO outbox VALUES (?, ?, 1, 'waiting', ?) ON CONFLICT DO UPDATE SET"
            " revision = revision + 1, state = 'waiting', changed = excluded.changed",
            (key.conversation, key.number, self.time()),
        )

    def need(self, key: TurnKey) -> None:
        """`MissingError` when there is no such turn; inside a transaction."""
        self._change(key, "number = number")

    def time(self) -> str:
        """Now, as it is stored: ISO 8601, UTC, milliseconds."""
        return self._now().isoformat(timespec="milliseconds")

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
        migrate(self._db, done)

    def _end_cut_turns(self) -> None:
        """Turns that were open when the last process died."""
        with self.transaction():
            rows = self._db.execute("SELECT conversation, number FROM turn WHERE state = 'open'").fetchall()
            for key in (TurnKey(*row) for row in rows):
                self._change(key, "state = 'partial', ended = ?", self.time())
                self._ended(key)

    def _ended(self, key: TurnKey) -> None:
        """What goes into the same transaction as the end of a turn."""
        self.enqueue(key)
        self._db.execute(
            "INSERT OR IGNORE INTO handoff SELECT conversation, number, handoff, ended, 'open', NULL, ended FROM turn"
            " WHERE conversation = ? AND number = ? AND handoff IS NOT NULL",
            (key.conversation, key.number),
        )
        index_turn(self._db, key.conversation, key.number)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except database_errors() as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL:
                raise SpaceError(
                    "the disk is full; the message was not stored", where=str(self.path), hint="free space, ask again"
                ) from error
            if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise IntegrityError(
                    "the journal is damaged", where=str(self.path), hint="restart the server: it saves what can be read"
                ) from error
            raise
