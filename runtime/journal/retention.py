"""Forgets in time: conversations are redacted, then deleted, and so are the files that copy their words.

Promises: what waits to leave the branch is redacted at its age and not deleted, unless that is asked for; nothing is
forgotten by a clock that cannot be trusted (`runtime.journal.clock`); one conversation is one transaction, and texts
are redacted outside it, so that questions wait for neither; a sweep that is cut or fails may be run again; what is
forgotten leaves no byte in the file or its log (`RetentionReport.overwritten` says when a reader still holds the log).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from runtime.journal import inbox_index
from runtime.journal.journal import Journal
from runtime.journal.schema import OF_A_CONVERSATION
from runtime.journal.search import forget_conversation, index_turn
from runtime.journal.turn_details import AGENT_REASON, TurnDetails

Redact = Callable[[str], str]
_QUOTING = ("query", "entities", "unsupported", "error")
"""What a turn's details quote of them."""


@dataclass(frozen=True)
class RetentionReport:
    """What one sweep did."""

    deleted: int = 0
    """Conversations."""
    redacted: int = 0
    """Conversations whose personal data became placeholders."""
    waiting: int = 0
    """Conversations past their time that were kept, redacted, because they have yet to leave the branch."""
    unsent: int = 0
    """Turns that were deleted although they had never left, as was asked for."""
    dropped: int = 0
    """Turns that will not leave the branch, because more waited than its policy lets."""
    files: int = 0
    """Copies outside the journal that were deleted."""
    paused: str = ""
    """Why nothing was forgotten; empty when the clock is trusted."""
    overwritten: bool = True
    """Whether the write-ahead log is empty too; if not, the journal empties it as soon as no reader holds it."""

    def as_dict(self) -> dict[str, int | str | bool]:
        """The fields by name."""
        return asdict(self)


class _Cell(NamedTuple):
    """A text in the journal."""

    table: str
    column: str
    number: int | None
    """Of the turn; None in tables with one row a conversation."""
    text: str


def apply_retention(
    journal: Journal,
    *,
    keep_days: int,
    redact_after_days: int,
    redactor: Callable[[], Redact],
    unsent: bool = False,
    clock_is_right: bool = False,
    stop: threading.Event | None = None,
) -> RetentionReport:
    """Delete conversations nobody wrote in for `keep_days`; redact those of `redact_after_days`. 0 = never.

    `redactor()` gives a function for the texts of one conversation. `unsent` deletes what waits to leave too;
    `clock_is_right` is a person's word for a clock that is not trusted; `stop` ends the sweep early.
    """
    stop = stop or threading.Event()
    if problem := journal.check_clock(accept=clock_is_right):
        return RetentionReport(paused=f"nothing was forgotten: {problem}")
    now = journal.now()
    deleted = redacted = waiting = lost = 0
    for conversation in _older(journal, now, keep_days):
        if stop.is_set():
            break
        gone, left = _delete(journal, conversation, unsent=unsent)
        deleted, lost, waiting = deleted + gone, lost + (left if gone else 0), waiting + (not gone)
        if not gone:
            redacted += _redact(journal, conversation, redactor())
    for conversation in _older(journal, now, redact_after_days):
        if stop.is_set():
            break
        redacted += _redact(journal, conversation, redactor())
    drafts = _forget_drafts(journal, now, keep_days, redact_after_days, redactor)
    overwritten = journal.empty_log() if deleted or redacted or drafts else True
    return RetentionReport(deleted, redacted, waiting, lost, overwritten=overwritten)


def forget_files(home: Path, now: datetime, *, keep_days: int, redact_after_days: int) -> int:
    """Delete copies of customers' words outside the journal when they are too old; returns how many.

    Exports, the clipboard, what a console remembered, and damaged journals. They cannot be redacted, so the shorter of
    the two periods that is not 0 counts, from when a file was last written. Those that stay become owner-only. Call it
    only when the clock is trusted (`RetentionReport.paused` is empty).
    """
    days = min((days for days in (keep_days, redact_after_days) if days), default=0)
    gone = 0
    for path in copies_of_words(home):
        try:
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
            if written > now + timedelta(days=1):
                # From while the clock was ahead: its age counts from now on.
                os.utime(path, (now.timestamp(), now.timestamp()))
            elif days and written < now - timedelta(days=days) and not _unsaved(path):
                path.unlink()
                gone += 1
        except FileNotFoundError:
            continue  # a console replaced it meanwhile
    return gone


def copies_of_words(home: Path) -> list[Path]:
    """Files of a home, besides the journal, that may hold customers' words."""
    names = ("clipboard.txt", "console.json", "console.sqlite", "console.damaged")
    found = [home / name for name in names]
    found += [path for path in (home / "exports").rglob("*") if not path.is_dir()]
    found += home.glob("journal.sqlite.damaged-*")
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _unsaved(path: Path) -> bool:
    """Whether a console's memory holds verdicts that the server has not got yet."""
    if path.name == "console.sqlite":  # Encrypted: the console leaves a mark beside it.
        return path.with_name("console.unsaved").exists()
    return path.name == "console.json" and b'"saved": false' in path.read_bytes()


def _older(journal: Journal, now: datetime, days: int) -> list[str]:
    """Conversations nobody wrote in for so many days."""
    if not days:
        return []
    before = (now - timedelta(days=days)).isoformat(timespec="milliseconds")
    with journal.reading() as db:
        rows = db.execute("SELECT conversation FROM inbox WHERE touched < ? ORDER BY touched", (before,)).fetchall()
    return [row[0] for row in rows]


def _delete(journal: Journal, conversation: str, *, unsent: bool) -> tuple[bool, int]:
    """Delete a conversation unless it waits to leave; (whether it is gone, turns of it that waited)."""
    with journal.transaction() as db:
        (waiting,) = db.execute(
            "SELECT count(*) FROM outbox WHERE conversation = ? AND state = 'waiting'", (conversation,)
        ).fetchone()
        if waiting and not unsent:
            return False, waiting
        forget_conversation(db, conversation)
        inbox_index.forget(db, conversation)
        for table in reversed(OF_A_CONVERSATION):  # children first: foreign keys are on
            column = "id" if table.name == "conversation" else "conversation"
            db.execute(f"DELETE FROM {table.name} WHERE {column} = ?", (conversation,))  # noqa: S608 - ours
    return True, waiting


def _redact(journal: Journal, conversation: str, redact: Redact) -> bool:
    """Redact a conversation once; False when it was before, or somebody wrote in it meanwhile."""
    with journal.reading() as db:
        if db.execute("SELECT 1 FROM redacted WHERE conversation = ?", (conversation,)).fetchone():
            return False
        cells = _cells(db, conversation)
    # Outside the lock: a long text takes the redactor seconds, and questions are stored under that lock.
    clean = [(cell, _clean(cell, redact)) for cell in cells]
    with journal.transaction() as db:
        if _cells(db, conversation) != cells:
            return False  # it is in use again, and no longer old
        for cell, text in clean:
            if text != cell.text:
                _write(db, conversation, cell, text)
        for (number,) in db.execute("SELECT number FROM turn WHERE conversation = ?", (conversation,)).fetchall():
            index_turn(db, conversation, number)
        (tags,) = db.execute("SELECT tags FROM meta WHERE conversation = ?", (conversation,)).fetchone() or ("[]",)
        inbox_index.set_tags(db, conversation, json.loads(tags))
        db.execute("INSERT OR IGNORE INTO redacted VALUES (?)", (conversation,))
    return True


def _cells(db: sqlite3.Connection, conversation: str) -> list[_Cell]:
    """Every text of a conversation, in the order in which it was said: a name is known from where it first came."""
    cells = []
    turns = db.execute(
        "SELECT number, question, draft, details, handoff, reply, reason FROM turn"
        " LEFT JOIN feedback USING (conversation, number) WHERE turn.conversation = ? ORDER BY number",
        (conversation,),
    )
    for number, question, draft, details, handoff, reply, reason in turns.fetchall():
        cells += [_Cell("turn", "question", number, question), _Cell("turn", "draft", number, draft)]
        cells += [_Cell("feedback", "reply", number, reply), _Cell("feedback", "reason", number, reason)]
        cells += [_Cell("turn", "details", number, details)]
        if handoff and not TurnDetails.from_json(details).explains(handoff):
            cells += [_Cell("turn", "handoff", number, handoff), _Cell("handoff", "reason", number, handoff)]
    for table, columns in {"meta": ("notes", "summary", "tags"), "composer": ("text",)}.items():
        row = db.execute(
            f"SELECT {', '.join(columns)} FROM {table} WHERE conversation = ?",  # noqa: S608 - ours
            (conversation,),
        ).fetchone()
        cells += [_Cell(table, column, None, text) for column, text in zip(columns, row or (), strict=False)]
    return [cell for cell in cells if cell.text]


def _clean(cell: _Cell, redact: Redact) -> str:
    if cell.column == "details":
        return _clean_details(cell.text, redact)
    if cell.column == "tags":
        return json.dumps(_clean_json(json.loads(cell.text), redact), ensure_ascii=False)
    if cell.column == "handoff" or cell.table == "handoff":
        return AGENT_REASON
    return redact(cell.text)


def _write(db: sqlite3.Connection, conversation: str, cell: _Cell, text: str) -> None:
    update = f"UPDATE {cell.table} SET {cell.column} = ? WHERE conversation = ?"  # noqa: S608 - ours
    if cell.number is None:
        db.execute(update, (text, conversation))
    else:
        db.execute(f"{update} AND number = ?", (text, conversation, cell.number))


def _clean_details(stored: str, redact: Redact) -> str:
    try:
        details = json.loads(stored)
    except ValueError:
        return "{}"  # damaged: nobody can say what it quotes
    clean = {name: _clean_json(value, redact) if name in _QUOTING else value for name, value in details.items()}
    return json.dumps(clean, ensure_ascii=False)


def _clean_json(value: Any, redact: Redact) -> Any:
    if isinstance(value, dict):
        return {name: _clean_json(one, redact) for name, one in value.items()}
    if isinstance(value, list):
        return [_clean_json(one, redact) for one in value]
    return redact(value) if isinstance(value, str) else value


def _forget_drafts(
    journal: Journal, now: datetime, keep_days: int, redact_after_days: int, redactor: Callable[[], Redact]
) -> int:
    """Forget what was typed for conversations that never began, which no other rule reaches; returns how many."""
    changed = 0
    never_began = "conversation NOT IN (SELECT id FROM conversation) AND changed < ?"
    if keep_days:
        before = (now - timedelta(days=keep_days)).isoformat(timespec="milliseconds")
        with journal.transaction() as db:
            changed += db.execute(f"DELETE FROM composer WHERE {never_began}", (before,)).rowcount  # noqa: S608 - ours
    if redact_after_days:
        before = (now - timedelta(days=redact_after_days)).isoformat(timespec="milliseconds")
        with journal.reading() as db:
            rows = db.execute(f"SELECT conversation, text FROM composer WHERE {never_began}", (before,))  # noqa: S608
            old = rows.fetchall()
        for conversation, text in old:
            clean = redactor()(text)
            if clean == text:
                continue
            with journal.transaction() as db:
                update = "UPDATE composer SET text = ? WHERE conversation = ? AND text = ?"
                changed += db.execute(update, (clean, conversation, text)).rowcount
    return changed
