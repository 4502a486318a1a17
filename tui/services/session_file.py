"""The file in which a session survives a kill: `console.json`, or `console.sqlite` where the journal is encrypted.

It holds what `tui.state.session` remembers, customers' words among it, so it follows the journal's rules: owner-only,
encrypted with the journal's key where the journal is, and removed with the old conversations by the journal's retention
rule. Promises: the file is replaced whole, so that a kill leaves the old one or the new one; a damaged file is set
aside as `console.damaged` and the console starts without it. Knows nothing of widgets.
"""

from __future__ import annotations

import json
from contextlib import closing, suppress
from pathlib import Path

from pydantic import ValidationError

from runtime.base.files import write_atomic
from tui.services.private_files import Protection
from tui.state import Restored, Session, State, remember

FILE_NAME = "console.json"
SEALED_NAME = "console.sqlite"
UNSAVED_NAME = "console.unsaved"
"""Beside an encrypted session that holds verdicts the server has not got: `runtime.journal.retention` looks for it."""
FORMAT = 1


class SessionFile:
    """The session file of a home."""

    def __init__(self, home: Path, protection: Protection) -> None:
        self._plain = home / FILE_NAME
        self._sealed = home / SEALED_NAME
        self._protection = protection

    def write(self, state: State) -> None:
        """Replace the file with what is worth keeping of a state."""
        if self._protection.encrypted and self._protection.key is None:
            return  # Without the key nothing may be written; the server still has what it was sent.
        text = encode(remember(state.threads, state.open))
        if self._protection.key is None:
            write_atomic(self._plain, [text.encode("utf-8", "replace")], mode=0o600)
        else:
            # Retention cannot read an encrypted session: the mark keeps it from removing verdicts on their way.
            mark = self._sealed.with_name(UNSAVED_NAME)
            if state.unsaved():
                mark.touch(mode=0o600)
            _write_sealed(self._sealed, self._protection.key, text)
            if not state.unsaved():
                mark.unlink(missing_ok=True)

    def read(self) -> Restored | None:
        """What was remembered; None where there is nothing, or nothing that can be read."""
        try:
            text = self._read_text()
            return Restored(decode(text)) if text is not None else None
        except (OSError, ValueError):
            self._set_aside()
            return None

    def _read_text(self) -> str | None:
        text = None
        if self._plain.exists():
            text = self._plain.read_text(encoding="utf-8")
        if self._protection.encrypted:
            if self._protection.key is not None and self._sealed.exists():
                text = _read_sealed(self._sealed, self._protection.key)
            # From before the journal was encrypted. It is taken up once; in clear it must not stay.
            for old in (self._plain, self._plain.with_suffix(".damaged")):
                old.unlink(missing_ok=True)
        return text

    def _set_aside(self) -> None:
        for path in (self._plain, self._sealed):
            with suppress(OSError):  # Not there, or not this user's.
                path.replace(self._plain.with_suffix(".damaged"))


def encode(session: Session) -> str:
    """The stored form."""
    return json.dumps({"format": FORMAT, **session.model_dump(mode="json")}, ensure_ascii=False)


def decode(text: str) -> Session:
    """The session out of its stored form; `ValueError` where it is none."""
    said = json.loads(text)
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError("not a session of this console")
    try:
        return Session.model_validate(said)
    except ValidationError as error:
        raise ValueError("not a session of this console") from error


# The encryption is imported where it is used: SQLite and SQLCipher cost a console's start, and few branches encrypt.


def _write_sealed(path: Path, key: str, text: str) -> None:
    from runtime.journal.encryption import connect

    path.touch(mode=0o600)
    with closing(connect(path, key)) as db:
        # One transaction: a kill leaves the old row or the new one.
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS session (text TEXT NOT NULL)")
        db.execute("DELETE FROM session")
        db.execute("INSERT INTO session VALUES (?)", (text.encode("utf-8", "replace").decode("utf-8"),))
        db.execute("COMMIT")


def _read_sealed(path: Path, key: str) -> str | None:
    """The session's text; None where none was written yet. `ValueError` for a damaged file, or one of another key."""
    from runtime.journal.encryption import connect
    from runtime.journal.sqlite_errors import database_errors

    try:
        with closing(connect(path, key, read_only=True)) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'session'").fetchone():
                return None
            row = db.execute("SELECT text FROM session").fetchone()
    except database_errors() as error:
        raise ValueError("not a session of this console, or another key") from error
    return str(row[0]) if row else None
