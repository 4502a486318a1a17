"""A journal encrypted at rest: SQLCipher under the same SQL, its key in a file elsewhere.

    settings.toml            journal_key = "/media/key/branch.key"      64 hex digits, owner-only, not in the home
    journal.sqlite.sealed    says that the journal is encrypted, and a hash that tells its key from another

Whole pages are encrypted (AES-256, each with an HMAC), so the full-text index, the write-ahead log and temporary pages
are as unreadable as the texts, and every query works as before. Promises: a journal is never opened with a wrong key
nor, once encrypted, without one, and never taken for damaged because of it. Knows nothing of tables.

Source: https://www.zetetic.net/sqlcipher/design/
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sqlite3
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from runtime.base.files import read_text, write_atomic
from runtime.errors import InputError, IntegrityError, MissingError, UsageError

_KEY = re.compile(r"[0-9a-f]{64}")
_MAGIC = b"SQLite format 3\0"
_HINT = "set journal_key in settings.toml to the key's file"


def connect(path: Path, key: str | None, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit, usable from several threads; `key` are 64 hex digits, None = not encrypted."""
    name = f"file:{quote(str(path))}?mode=ro" if read_only else str(path)
    if key is None:
        db = sqlite3.connect(name, isolation_level=None, check_same_thread=False, uri=read_only)
    else:
        db = cast(
            "sqlite3.Connection",
            _library().connect(name, isolation_level=None, check_same_thread=False, uri=read_only),
        )
        db.execute("PRAGMA cipher_log_level = NONE")
        db.execute(f"PRAGMA key = \"x'{key}'\"")
    # A large sort would spill customers' words into a temporary file outside the home.
    db.execute("PRAGMA temp_store = MEMORY")
    return db


def require_key(path: Path, key: str | None) -> None:
    """Refuse a key that does not belong to a journal; a new journal takes the key it is begun with."""
    mark = _mark(path)
    begun = path.is_file() and path.stat().st_size > 0
    # Encrypting writes the mark just before the file changes places: what is plain to read is not encrypted yet.
    if mark.is_file() and not _is_plain(path):
        if key is None:
            raise MissingError("the journal is encrypted", where=str(path), hint=_HINT)
        if read_text(mark).strip() != _fingerprint(key):
            raise IntegrityError("the journal was encrypted with another key", where=str(path), hint=_HINT)
    elif key is not None:
        if begun:
            raise InputError("the journal is not encrypted yet", where=str(path), hint="edgedesk journal encrypt")
        mark_encrypted(path, key)


def mark_encrypted(path: Path, key: str) -> None:
    """Say beside a journal that it is encrypted, and with which key."""
    write_atomic(_mark(path), _fingerprint(key) + "\n", mode=0o600)


def read_key(path: Path | None, home: Path) -> str | None:
    """The key in a file; None without one. Refused: a key others may read, or that lies beside what it protects."""
    if path is None:
        return None
    if path.resolve().is_relative_to(home.resolve()):
        raise UsageError("the key lies beside the journal", where=str(path), hint="keep it on another disk or stick")
    if not path.is_file():
        raise MissingError("the journal's key is not there", where=str(path), hint="is its disk or stick mounted?")
    if path.stat().st_mode & 0o077:
        raise UsageError("others may read the key", where=str(path), hint=f"chmod 600 {path}")
    key = read_text(path).strip().lower()
    if not _KEY.fullmatch(key):
        raise InputError("not a key", where=str(path), hint="64 hex digits; edgedesk journal encrypt makes one")
    return key


def make_key(path: Path) -> None:
    """A new random key in a new file that only its owner reads."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.sealed")


def _is_plain(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _fingerprint(key: str) -> str:
    return hashlib.sha256(f"edgedesk journal {key}".encode()).hexdigest()[:32]


def _library() -> Any:
    try:
        import sqlcipher3.dbapi2
    except ImportError:
        raise MissingError(
            "an encrypted journal needs sqlcipher3", hint="pip install 'edgedesk[encrypted]', or install the wheel"
        ) from None
    return sqlcipher3.dbapi2
