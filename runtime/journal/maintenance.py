"""What a journal needs besides being written: a look at its health, a rescue, and a copy.

Promises: a damaged file is never deleted or written to, it is put aside whole, and every row of it that can be read is
in the new journal, whenever the process is killed meanwhile; a copy appears whole or not at all and is owner-only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runtime.base.files import fsync_folder, read_text, write_atomic
from runtime.base.progress import ProgressCallback
from runtime.errors import InputError, IntegrityError, MissingError
from runtime.journal.encryption import connect, mark_encrypted, require_key
from runtime.journal.recovery import Row, recover_rows
from runtime.journal.schema import TABLES, Table, rebuild_derived
from runtime.journal.sqlite_errors import constraint_errors, database_errors, is_damage, translated_errors

_COPY_PAGES = 256


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
        if is_damage(error):
            return False
        raise


def begin_quarantine(path: Path, now: datetime) -> Path:
    """Rename a damaged journal, with its log, to a name that is free; recovery is pending from here on.

    Three files change places, and then their rows: a note beside the journal says how far this has come, so that a kill
    at any point is finished at the next start (`resume_quarantine`).
    """
    stem = f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}"
    aside = next(
        one for number in range(1000) if not (one := path.with_name(stem + (f"-{number}" if number else ""))).exists()
    )
    write_atomic(_note(path), f"moving {aside.name}\n", mode=0o600)
    return _finish_moving(path, aside)


def resume_quarantine(path: Path) -> Path | None:
    """Where a damaged journal went whose rows are not yet in the new one; None when there is none."""
    if not _note(path).is_file():
        return None
    phase, _, name = read_text(_note(path)).strip().partition(" ")
    aside = path.with_name(name)
    # Once the parts are moved, what is at `path` is the new journal and its own log: they must not be moved again.
    return _finish_moving(path, aside) if phase == "moving" else aside


def end_quarantine(path: Path) -> None:
    """The rows are in the new journal."""
    _note(path).unlink(missing_ok=True)
    fsync_folder(path.parent)


def _finish_moving(path: Path, aside: Path) -> Path:
    for end in ("", "-wal", "-shm"):
        part, target = path.with_name(path.name + end), aside.with_name(aside.name + end)
        if part.exists() and not target.exists():
            os.replace(part, target)
    fsync_folder(path.parent)
    write_atomic(_note(path), f"recovering {aside.name}\n", mode=0o600)
    return aside


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.quarantine")


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
        if found["setting"]:
            db.execute("DELETE FROM setting")  # the new journal's own; the old one's go on
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
        rebuild_derived(db)
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


def backup(path: Path, target: Path, progress: ProgressCallback | None = None, key: str | None = None) -> int:
    """Copy a journal, in use or not, to a file of its own; returns its bytes. `IntegrityError` if it cannot be read.

    The copy of an encrypted journal is encrypted with the same key. A folder, a device, a pipe or a link is refused:
    the rename at the end would put a file in its place.
    """
    with translated_errors(target):
        if target.is_dir():
            raise InputError(f"{target} is a folder", hint="name a file in it")
        if target.is_symlink() or (target.exists() and not target.is_file()):
            raise InputError("not a regular file", where=str(target), hint="name a file; it is made, or replaced")
        # A copy in place of the journal, or of its log, would take from the server what it has just acknowledged.
        parts = [part for end in ("", "-wal", "-shm") if (part := path.with_name(path.name + end)).exists()]
        if target.exists() and any(target.samefile(part) for part in parts):
            raise InputError("this is the journal itself", where=str(target), hint="name another file")
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
