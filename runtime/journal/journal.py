"""The journal: every question, draft and reply of the branch, in SQLite, safe against kills and power cuts.

Promises: when `ask` returns, the customer's message is on disk; a draft that was being written when the process was
killed is kept and marked `partial` the next time; a turn and its place in the outbox are stored together or not at
all; a damaged file is put aside whole and what can be read of it goes on (`recovery`); after a disk error nothing more
is taken until the journal is opened again; the file is owner-only. One connection writes (two may corrupt a WAL in
SQLite before 3.51.3), so whoever opens a journal must hold the home's lock; to read in another process, use
`runtime.journal.maintenance.open_reading`. Knows nothing of models and sockets.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from runtime.errors import IntegrityError, MissingError, SpaceError, UnavailableError
from runtime.journal import inbox_index
from runtime.journal.clock import MAX_BEHIND, clock_problem
from runtime.journal.encryption import connect, require_key
from runtime.journal.maintenance import (
    Recovery,
    begin_quarantine,
    end_quarantine,
    is_sound,
    recover,
    resume_quarantine,
)
from runtime.journal.queries import count_citations, stored_turns
from runtime.journal.schema import MIGRATIONS, migrate
from runtime.journal.search import FoundTurn, index_turn, search
from runtime.journal.sqlite_errors import database_errors, translated_errors
from runtime.journal.stored_turn import Feedback, State, StoredTurn, TurnKey, is_practice
from runtime.journal.turn_details import TurnDetails

FILE_NAME = "journal.sqlite"

MARK_EVERY = timedelta(hours=1)
"""How often the time that was last trusted is written down while questions come."""
_BUSY_MS = 5000
"""SQLite's own time-out for a lock that another process holds."""
_MERGE_PAGES = 500
"""Of the search index in one transaction, some ten ms: questions come in between."""


class WaitingTurn(NamedTuple):
    """A turn that has yet to leave the branch."""

    key: TurnKey
    revision: int
    """Grows with every change of the turn."""


class Journal:
    """An open journal. Safe to call from several threads; use `close`, or `with`."""

    def __init__(
        self, path: Path, *, key: str | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Open or begin a journal; with a `key` (`runtime.journal.encryption`) it is encrypted.

        Raises `SpaceError`, `UnavailableError` (not writable), `UsageError` (another user's), `IntegrityError` (from a
        newer Edgedesk, another key).
        """
        self.path = path
        self.now = now
        # Reentrant: `note` and the inbox put several calls into one transaction. SQLite's connection is shared by all
        # threads, so whoever reads holds it as well.
        self._lock = threading.RLock()
        self._failed: IntegrityError | None = None
        self._closed = False
        self._log_holds_forgotten = False
        self.recovery: Recovery | None = None
        with translated_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            require_key(path, key)
            pending = resume_quarantine(path)
            if pending is None:
                self._create_file()
                if not is_sound(path, key):
                    pending = begin_quarantine(path, now())
            self._create_file()
            self._db = connect(path, key)
        try:
            with self._errors():
                self._db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
                self._db.execute("PRAGMA journal_mode = WAL")
                # FULL: every commit is fsynced, so that what was acknowledged survives a power cut.
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                # Deleted rows are overwritten with zeros; NORMAL would leave customers' words in free pages.
                self._db.execute("PRAGMA secure_delete = ON")
                self._migrate()
                if pending:
                    self.recovery = recover(pending, self._db, key)
                    end_quarantine(path)
                self._mark = self._read_mark()
                self._alias_key = self._read_secret()
                with suppress(SpaceError):  # a full disk keeps nobody from reading
                    self._end_cut_turns()
                    self.check_clock()
                # A process that was killed, or a reader that outlived it, may have left forgotten words in the log.
                self._truncate_log()
        except BaseException:
            self._db.close()
            raise

    def _create_file(self) -> None:
        # Made by us with its mode: SQLite gives the log beside it the same one.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self.path.chmod(0o600)

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
            if self.now() - self._mark > MARK_EVERY and not clock_problem(self.now(), self._mark):
                self._store_mark(self.now())
            index_turn(self._db, name, last + 1)
            inbox_index.touch(self._db, name, last + 1, self.trusted_time())
            # A customer who writes again is not done with.
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

    def waiting(self, limit: int, skip: int = 0) -> list[WaitingTurn]:
        """Turns that have yet to leave the branch, oldest first, after the first `skip`; a negative `limit` is none."""
        with self._lock, self._errors():
            rows = self._db.execute(
                "SELECT conversation, number, revision FROM outbox WHERE state = 'waiting'"
                " ORDER BY changed LIMIT ? OFFSET ?",
                (limit, skip),
            ).fetchall()
        return [WaitingTurn(TurnKey(conversation, number), revision) for conversation, number, revision in rows]

    def mark_sent(self, key: TurnKey, revision: int) -> None:
        """A turn has arrived at head office; one that changed since keeps waiting."""
        with self.transaction():
            self._db.execute(
                "UPDATE outbox SET state = 'sent' WHERE conversation = ? AND number = ? AND revision = ?",
                (key.conversation, key.number, revision),
            )

    def alias(self, conversation: str) -> str:
        """The name under which a conversation is spoken of outside the journal: in the log and at head office.

        Keyed with a secret of this journal: a client may name a conversation by a phone number, which a plain hash
        would give away to anybody who tries all numbers. 128 bits, in hex.
        """
        return hmac.new(self._alias_key, conversation.encode(), hashlib.sha256).hexdigest()[:32]

    def check_clock(self, *, accept: bool = False) -> str:
        """Why the clock is not trusted, empty when it is; then the journal remembers its time.

        `accept`: a person says that the clock is right, whatever the journal has seen.
        """
        with self.transaction() as db:
            now = self.now()
            if problem := "" if accept else clock_problem(now, self._mark):
                return problem
            self._store_mark(now if accept else max(now, self._mark))
            # Written while the clock was ahead: its age counts from now on.
            soon = (now + MAX_BEHIND).isoformat(timespec="milliseconds")
            db.execute("UPDATE inbox SET touched = ? WHERE touched > ?", (self.trusted_time(), soon))
            db.execute("UPDATE composer SET changed = ? WHERE changed > ?", (self.trusted_time(), soon))
        return ""

    def trusted_time(self) -> str:
        """Now as ages are counted from it: never before a time that the journal has trusted."""
        return max(self.now(), self._mark).isoformat(timespec="milliseconds")

    def empty_log(self) -> bool:
        """Overwrite what was deleted in the search index and the write-ahead log too; False while a reader holds it.

        It is then tried again with every commit and at the next start.
        """
        # FTS5 only marks what was deleted until segments are merged; a negative count makes all of them eligible, and
        # fewer than two changes say that nothing is left to merge (https://www.sqlite.org/fts5.html, 6.8).
        pages, changes = -_MERGE_PAGES, 2
        while changes >= 2:
            with self.transaction() as db:
                before = db.total_changes
                db.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
                changes, pages = db.total_changes - before, _MERGE_PAGES
        with self._lock, self._errors():
            return self._truncate_log()

    def turns(self, conversation: str, *, newest: int | None = None) -> list[StoredTurn]:
        """A conversation's turns, or so many of the `newest`, oldest first; empty for an unknown conversation."""
        with self._lock, self._errors():
            return stored_turns(self._db, conversation, newest)

    def count_citations(self) -> Counter[str]:
        """How often the branch's answers cited each section, by `article#section`."""
        with self._lock, self._errors():
            return count_citations(self._db)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, for the rest of this room too; nothing else writes meanwhile."""
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
                # SQLite has rolled back by itself after a full disk or an I/O error; what went wrong first counts.
                with suppress(*database_errors()):
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                raise
            if self._log_holds_forgotten:
                self._truncate_log()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """To read, while nobody writes."""
        with self._lock, self._errors():
            yield self._db

    def enqueue(self, key: TurnKey) -> None:
        """A turn has changed and will leave (again), unless it is practice; inside a transaction."""
        if is_practice(key.conversation):
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
        return self.now().isoformat(timespec="milliseconds")

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with self._lock:
            self._closed = True
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

    def _truncate_log(self) -> bool:
        # Without a time-out: a backup may read for minutes, and questions wait for this lock.
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            (busy, _, _) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        self._log_holds_forgotten = bool(busy)
        return not busy

    def _read_secret(self) -> bytes:
        """The key of `alias`, made with the journal."""
        row = self._db.execute("SELECT value FROM setting WHERE name = 'secret'").fetchone()
        if row is None:
            row = (secrets.token_hex(32),)
            with self.transaction() as db:
                db.execute("INSERT INTO setting VALUES ('secret', ?, ?)", (row[0], self.time()))
        return bytes.fromhex(row[0])

    def _read_mark(self) -> datetime:
        row = self._db.execute("SELECT value FROM setting WHERE name = 'clock'").fetchone()
        if row is None:  # a new journal, or one from before there was a mark
            row = self._db.execute("SELECT max(asked) FROM turn").fetchone()
        try:
            mark = datetime.fromisoformat(row[0])
        except (TypeError, ValueError):
            return self.now()
        return mark if mark.tzinfo else mark.replace(tzinfo=UTC)

    def _store_mark(self, mark: datetime) -> None:
        self._mark = mark
        self._db.execute(
            "INSERT OR REPLACE INTO setting VALUES ('clock', ?, ?)",
            (mark.isoformat(timespec="milliseconds"), self.time()),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        if self._closed:  # the server changes to another bundle while a request still holds this desk
            raise UnavailableError("the journal is closed", where=str(self.path), hint="try again in a moment")
        if self._failed:
            # After a failed write or fsync SQLite's pages in memory and on disk may differ: nothing is built on them.
            raise IntegrityError(self._failed.what, where=self._failed.where, hint=self._failed.hint)
        try:
            with translated_errors(self.path):
                yield
        except IntegrityError as error:
            self._failed = error
            raise
