"""What a journal needs besides being written: a look at its health, a rescue, a copy, and forgetting in time.

Promises: a damaged file is never deleted or written to, it is put aside whole, and every row of it that can be read is
in the new journal; a copy appears whole or not at all and is owner-only; what is forgotten leaves no byte in the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from runtime.base.files import fsync_folder, full_disk_is_an_error
from runtime.errors import IntegrityError, MissingError
from runtime.journal.encryption import connect, constraint_errors, database_errors, mark_encrypted, require_key
from runtime.journal.recovery import Row, recover_rows
from runtime.journal.schema import TABLES, Table
from runtime.journal.search import forget_conversation, index_all, index_turn

Count = Callable[[float, float], None]
_COPY_PAGES = 256
_TEXTS: dict[str, tuple[str, ...]] = {"turn": ("question", "draft"), "feedback": ("reply", "reason")}
"""Columns with words of customers and agents."""
_NOTES: dict[str, tuple[str, ...]] = {"meta": ("notes", "summary"), "composer": ("text",)}
"""The same, one row a conversation."""
_SAID = ("query", "entities", "unsupported", "error")
"""What a turn's details quote of them."""


@dataclass(frozen=True)
class Recovery:
    """What a rescue brought back."""

    aside: Path
    """Where the damaged file lies now."""
    rows: dict[str, int]
    """Rows of each table that are in the new journal."""

    def __str__(self) -> str:
        return (
            f"the journal was damaged: {self.rows['turn']} turns were saved, the damaged file is kept as {self.aside}"
        )


@dataclass(frozen=True)
class RetentionReport:
    """What was forgotten."""

    deleted: int
    """Conversations."""
    unsent: int
    """Turns in them that had never left the branch."""
    redacted: int
    """Conversations whose personal data became placeholders."""

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def open_reading(path: Path, key: str | None = None) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint, safe beside the one that writes."""
    if not path.is_file():
        raise MissingError("there is no journal yet", where=str(path), hint="it begins with the first question")
    require_key(path, key)
    return connect(path, key, read_only=True)


def is_sound(path: Path, key: str | None = None) -> bool:
    """Whether SQLite can read every page of the file; an empty file is sound."""
    if not path.stat().st_size:
        return True
    try:
        with closing(open_reading(path, key)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except database_errors() as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return False
        raise


def quarantine(path: Path, now: datetime) -> Path:
    """Rename a damaged journal, with its log, to a name that is free."""
    stem = f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}"
    aside = next(
        one for number in range(1000) if not (one := path.with_name(stem + (f"-{number}" if number else ""))).exists()
    )
    # The log first: left behind by a kill, it would be taken for the log of the new journal.
    for end in ("-wal", "-shm", ""):
        part = path.with_name(path.name + end)
        if part.exists():
            os.replace(part, aside.with_name(aside.name + end))
    fsync_folder(path.parent)
    return aside


def recover(aside: Path, db: sqlite3.Connection, key: str | None = None) -> Recovery:
    """Put every row of a damaged journal that can be read into a new, empty one; one transaction."""
    recoverable = [table for table in TABLES if table.kinds]
    found: dict[str, list[Row]] = {table.name: [] for table in recoverable}
    if key is None:
        for row in recover_rows(aside):
            if table := _table_of(row, recoverable):
                found[table.name].append(row)
    else:
        found = {table.name: _readable(aside, key, table.name) for table in recoverable}
    # Of two versions of a turn the one that has ended is the newer.
    found["turn"].sort(key=lambda row: row[10] is None)
    kept = dict.fromkeys(found, 0)
    db.execute("BEGIN IMMEDIATE")
    try:
        for row in found["turn"]:
            db.execute("INSERT OR IGNORE INTO conversation VALUES (?, ?)", (row[0], row[2]))
        for name, rows in found.items():
            for row in rows:
                marks = ", ".join("?" * len(row))
                try:
                    done = db.execute(f"INSERT OR IGNORE INTO {name} VALUES ({marks})", row)  # noqa: S608 - ours
                    kept[name] += done.rowcount
                except constraint_errors():
                    continue  # its turn is lost, or a value cannot be what was written
        index_all(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return Recovery(aside, kept)


def _readable(aside: Path, key: str, table: str) -> list[Row]:
    """The rows of a damaged encrypted journal that can be reached from either end of a table."""
    rows: dict[Row, None] = {}
    for order in ("ASC", "DESC"):
        try:
            with closing(connect(aside, key, read_only=True)) as db:
                # The primary key begins with the first column; the log beside the file is read too.
                for row in db.execute(f"SELECT * FROM {table} ORDER BY 1 {order}, 2 {order}"):  # noqa: S608 - ours
                    rows.setdefault(tuple(row))
        except database_errors():
            continue
    return list(rows)


_TYPES: dict[str, tuple[type, ...]] = {
    "s": (str,),
    "t": (str, type(None)),
    "i": (int,),
    "n": (int, float, type(None)),
}


def _table_of(row: Row, tables: Sequence[Table]) -> Table | None:
    """The table a row comes from, by the number and the kinds of its columns (`Table.kinds`)."""
    for table in tables:
        if len(row) == len(table.kinds) and all(map(isinstance, row, map(_TYPES.__getitem__, table.kinds))):
            return table
    return None


def backup(path: Path, target: Path, progress: Count | None = None, key: str | None = None) -> int:
    """Copy a journal, in use or not, to a file of its own; returns its bytes. `IntegrityError` if it cannot be read.

    The copy of an encrypted journal is encrypted with the same key.
    """
    with full_disk_is_an_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        try:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(open_reading(path, key)) as source, closing(connect(partial, key)) as copy:
                source.backup(
                    copy, pages=_COPY_PAGES, progress=progress and (lambda _, left, all_: progress(all_ - left, all_))
                )
                copy.execute("PRAGMA journal_mode = DELETE")
                if copy.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                    raise IntegrityError("the copy is damaged", where=str(path), hint="restart the server: it salvages")
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, target)
            if key is not None:
                target.with_name(f"{target.name}.sealed").unlink(missing_ok=True)
                mark_encrypted(target, key)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        fsync_folder(target.parent)
    return target.stat().st_size


def apply_retention(
    db: sqlite3.Connection,
    now: datetime,
    *,
    keep_days: int,
    redact_after_days: int,
    redactor: Callable[[], Callable[[str], str]],
) -> RetentionReport:
    """Forget conversations nobody touched for `keep_days`; redact those of `redact_after_days`. 0 = never.

    `redactor()` gives a function that redacts the texts of one conversation. Inside the caller's transaction.
    """
    deleted = unsent = redacted = 0
    for conversation in list(_untouched(db, now, keep_days)):
        (waiting,) = db.execute(
            "SELECT count(*) FROM outbox WHERE conversation = ? AND state = 'waiting'", (conversation,)
        ).fetchone()
        forget_conversation(db, conversation)
        for table in reversed(TABLES):  # children first: foreign keys are on
            column = "id" if table.name == "conversation" else "conversation"
            db.execute(f"DELETE FROM {table.name} WHERE {column} = ?", (conversation,))  # noqa: S608 - ours
        deleted += 1
        unsent += waiting
    for conversation in list(_untouched(db, now, redact_after_days)):
        if db.execute("SELECT 1 FROM redacted WHERE conversation = ?", (conversation,)).fetchone():
            continue
        _redact(db, conversation, redactor())
        redacted += 1
    return RetentionReport(deleted, unsent, redacted)


def _untouched(db: sqlite3.Connection, now: datetime, days: int) -> Iterator[str]:
    if not days:
        return
    before = (now - timedelta(days=days)).isoformat(timespec="milliseconds")
    rows = db.execute(
        "SELECT id FROM conversation WHERE max(started, coalesce((SELECT max(asked) FROM turn"
        " WHERE turn.conversation = id), started)) < ?",
        (before,),
    ).fetchall()
    yield from (row[0] for row in rows)


def _redact(db: sqlite3.Connection, conversation: str, redact: Callable[[str], str]) -> None:
    numbers = db.execute("SELECT number FROM turn WHERE conversation = ? ORDER BY number", (conversation,)).fetchall()
    for (number,) in numbers:
        key = {"conversation": conversation, "number": number}
        for table, columns in _TEXTS.items():
            for column in columns:
                _change(db, table, column, key, redact)
        _change(db, "turn", "details", key, lambda kept: _redact_details(kept, redact))
        index_turn(db, conversation, number)
    for table, notes in _NOTES.items():
        for column in notes:
            _change(db, table, column, {"conversation": conversation}, redact)
    _change(db, "meta", "tags", {"conversation": conversation}, lambda kept: _redact_json(kept, redact))
    db.execute("INSERT OR IGNORE INTO redacted VALUES (?)", (conversation,))


def _change(
    db: sqlite3.Connection, table: str, column: str, key: Mapping[str, str | int], change: Callable[[str], str]
) -> None:
    where = "WHERE " + " AND ".join(f"{name} = ?" for name in key)
    row = db.execute(f"SELECT {column} FROM {table} {where}", tuple(key.values())).fetchone()  # noqa: S608 - ours
    if row and row[0]:
        db.execute(f"UPDATE {table} SET {column} = ? {where}", (change(row[0]), *key.values()))  # noqa: S608 - ours


def _redact_json(kept: str, redact: Callable[[str], str]) -> str:
    return json.dumps(_cleaned(json.loads(kept), redact), ensure_ascii=False)


def _redact_details(kept: str, redact: Callable[[str], str]) -> str:
    details = json.loads(kept)
    clean = {name: _cleaned(value, redact) if name in _SAID else value for name, value in details.items()}
    return json.dumps(clean, ensure_ascii=False)


def _cleaned(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _cleaned(one, redact) for name, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one, redact) for one in value]
    return redact(value) if isinstance(value, str) else value
