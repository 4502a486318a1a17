"""Files of the console that hold customers' words: how they are protected, and the two that agents ask for.

    clipboard.txt     what was copied last, for terminals that take no clipboard sequence
    exports/          conversations and pages that an agent saved

Promises: every file is owner-only. Where the journal is encrypted nothing is written in clear: the clipboard still
works through the terminal, and saving says why it does not. Knows nothing of widgets.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runtime.base.files import write_atomic
from runtime.errors import EdgedeskError, UsageError

CLIPBOARD_NAME = "clipboard.txt"
EXPORTS_NAME = "exports"
_JOURNAL_MARK = "journal.sqlite.sealed"
"""Stands beside a journal that is encrypted (`runtime.journal.encryption`)."""
_VARIABLE = "EDGEDESK_JOURNAL_KEY"


@dataclass(frozen=True)
class Protection:
    """Whether the journal of a home is encrypted, and with which key (64 hex digits)."""

    encrypted: bool = False
    key: str | None = None
    """None where it is not encrypted, or where this user cannot read the key."""


def find_protection(home: Path) -> Protection:
    """The protection of a home's journal. The settings are read only where something says that there is a key."""
    marked = os.path.exists(home / _JOURNAL_MARK)  # noqa: PTH110 - Path.exists raises where the home is another user's
    if not marked and not os.environ.get(_VARIABLE) and not _names_key(home / "settings.toml"):
        return Protection()
    # Here, since the settings cost a console's start 60 ms and few branches have a key.
    from runtime.base.settings import load_settings
    from runtime.journal.encryption import read_key

    try:
        key = read_key(load_settings(home).journal_key, home)
    except (EdgedeskError, OSError):
        return Protection(encrypted=True)
    return Protection(marked or key is not None, key)


def _names_key(settings: Path) -> bool:
    try:
        return "journal_key" in settings.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


class PrivateFiles:
    """The clipboard file and the exports of a home."""

    def __init__(self, home: Path, protection: Protection) -> None:
        self._home = home
        self._protection = protection

    def keep_clipboard(self, text: str) -> Path:
        """Write what was copied; returns the file. Raises `OSError` or an `EdgedeskError`."""
        return self._write(self._home / CLIPBOARD_NAME, text)

    def export(self, name: str, text: str) -> Path:
        """Write a file of the exports; returns it. Raises `OSError` or an `EdgedeskError`."""
        return self._write(self._home / EXPORTS_NAME / name, text)

    def _write(self, path: Path, text: str) -> Path:
        if self._protection.encrypted:
            raise UsageError("the journal is encrypted, and a file would hold the text in clear")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(path, [text.encode("utf-8", "replace")], mode=0o600)
        return path
