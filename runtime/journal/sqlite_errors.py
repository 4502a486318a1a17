"""What SQLite raises, as errors of ours that say what to do next.

| SQLite                                   | ours               |
|------------------------------------------|--------------------|
| FULL; IOERR where the disk is full       | `SpaceError`       |
| CORRUPT, NOTADB; any other IOERR         | `IntegrityError`   |
| READONLY, CANTOPEN, PERM, PROTOCOL, NOLFS| `UnavailableError` |
| BUSY, LOCKED                             | `BusyError`        |
| the system says: permission denied       | `UsageError`       |

Anything else is a mistake of this program and passes as it is. Knows nothing of tables.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.base.files import full_disk_is_an_error
from runtime.errors import BusyError, EdgedeskError, IntegrityError, SpaceError, UnavailableError, UsageError

_PROBE_BYTES = 64 * 1024
"""More than SQLite needs for a row of ours and its page in the log."""


def database_errors() -> tuple[type[Exception], ...]:
    """What a connection raises: SQLCipher's errors are no relatives of sqlite3's."""
    other = sys.modules.get("sqlcipher3.dbapi2")
    return (sqlite3.DatabaseError, *((other.DatabaseError,) if other else ()))


def constraint_errors() -> tuple[type[Exception], ...]:
    """What it raises for a row that may not be."""
    other = sys.modules.get("sqlcipher3.dbapi2")
    return (sqlite3.IntegrityError, *((other.IntegrityError,) if other else ()))


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is no sound database."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise the errors of the table above for the journal at `path`, those of the operating system included."""
    try:
        with full_disk_is_an_error(path):
            yield
    except database_errors() as error:
        ours = _translated(error, path)
        if ours is None:
            raise
        raise ours from error
    except PermissionError as error:
        raise UsageError(
            "may not be opened by this user", where=str(path), hint="run as the owner of the branch's folder"
        ) from error


def _translated(error: Exception, path: Path) -> EdgedeskError | None:
    code = _code(error)
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _disk_is_full(path)):
        return SpaceError("the disk is full; nothing was stored", where=str(path), hint="free space, then try again")
    if is_damage(error):
        return IntegrityError(
            "the journal is damaged", where=str(path), hint="restart the server: it saves what can be read"
        )
    if code == sqlite3.SQLITE_IOERR:
        # After a failed fsync nobody knows what is on disk; trying again would report a success that is none.
        return IntegrityError(
            f"the disk under the journal fails ({error})",
            where=str(path),
            hint="check the disk, then restart the server; what was acknowledged before is read back",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _not_writable(path, str(error))
    if code in (sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS):
        return UnavailableError(
            f"the journal cannot be locked ({error})",
            where=str(path),
            hint="keep the branch's folder on a local disk: network folders do not lock safely",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BusyError("another process holds the journal", where=str(path), hint="try again in a moment")
    return None


def _not_writable(path: Path, why: str) -> UnavailableError:
    return UnavailableError(
        f"the journal cannot be written by this user ({why})",
        where=str(path),
        hint="run as the owner of the branch's folder, and mount it writable",
    )


def _code(error: Exception) -> int | None:
    """The primary result code; SQLite's extended codes have it in their lowest byte."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _disk_is_full(path: Path) -> bool:
    """Whether a page more finds no place: SQLite reports a quota, a limit and a full -shm as IOERR too."""
    probe = path.with_name(f".{path.name}.probe")
    parts = (path, path.with_name(path.name + "-wal"))
    try:
        with full_disk_is_an_error(path):
            handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(handle, bytes(_PROBE_BYTES))
                # Past a hole, so that a limit on the size of a file shows itself without filling the disk.
                os.pwrite(handle, bytes(_PROBE_BYTES), max(part.stat().st_size for part in parts if part.exists()))
                os.fsync(handle)
            finally:
                os.close(handle)
    except SpaceError:
        return True
    except (OSError, ValueError):
        return False
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return False
