"""Encrypts a journal that is not: a new file with every row takes the place of the old."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from runtime.base.files import fsync_folder
from runtime.journal.encryption import mark_encrypted, require_key
from runtime.journal.journal import Journal
from runtime.journal.maintenance import open_reading
from runtime.journal.retention import copies_of_words
from runtime.journal.schema import TABLES, rebuild_derived


def encrypt_journal(path: Path, key: str) -> int:
    """Encrypt a journal that is not: every row goes into a new file, which takes the old one's place. Returns turns."""
    require_key(path, None)
    partial = path.with_name(f".{path.name}.sealing")
    for end in ("", "-wal", "-shm", ".sealed"):
        partial.with_name(partial.name + end).unlink(missing_ok=True)
    with Journal(path):
        pass  # brings its tables up to date and folds in its log
    with closing(open_reading(path)) as old, Journal(partial, key=key) as sealed, sealed.transaction() as db:
        db.execute("DELETE FROM setting")  # the new journal's own; the old one's go on
        for table in TABLES:
            rows = old.execute(f"SELECT * FROM {table.name}").fetchall()  # noqa: S608 - ours
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                db.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)  # noqa: S608 - ours
        rebuild_derived(db)
        (turns,) = db.execute("SELECT count(*) FROM turn").fetchone()
    # The mark first: from here on nobody takes the encrypted file for a damaged one.
    partial.with_name(f"{partial.name}.sealed").unlink()
    mark_encrypted(path, key)
    os.replace(partial, path)
    fsync_folder(path.parent)
    return int(turns)


def delete_plain_copies(home: Path) -> list[str]:
    """Delete what holds customers' words in clear beside a journal that is encrypted now; returns the names.

    Exports, the clipboard, and damaged journals of which all that can be read was recovered. What a console remembers
    stays, in clear or encrypted: it may hold verdicts that the server has not got yet.
    """
    gone = []
    for path in copies_of_words(home):
        # A damaged journal whose header is gone does not look plain, and is: before this nothing was encrypted here.
        if path.name not in ("console.json", "console.sqlite"):
            path.unlink()
            gone.append(str(path.relative_to(home)))
    return gone
