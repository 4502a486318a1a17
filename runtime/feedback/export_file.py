"""What leaves a branch, as bytes: a line about the branch, then one line a turn. A file and an upload are the same.

    {"format": "edgedesk-feedback", "form": 1, "branch": "Lisbon", …}
    {"key": "…/2/3", "conversation": "…", "turn": 2, "revision": 3, "question": …}

Promises: a file is written whole or not at all, and only its owner may read it; a row keeps its key whenever it is
written, so that whoever reads many files keeps one row a turn, its newest; a file that is not one of these is refused
with its line, before anything of it is used; of many files the others are read all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import read_lines, write_atomic
from runtime.base.jsonl import parse_rows
from runtime.base.validation import first_problem
from runtime.bundle.bundle import Label, printable
from runtime.bundle.update_state import MOST_REFUSALS
from runtime.errors import EdgedeskError, InputError
from runtime.events import escape_line_breaks
from runtime.journal.outbox import OutboxRow

SHOWN_UNREADABLE = 5
_HINT = "give files that `edgedesk feedback export` wrote, or uploads as they came"
BundleTitle = Annotated[str, Field(min_length=1, max_length=201), AfterValidator(printable)]
"""Name and version of a bundle, such as `shop 2`."""


class ExportHeader(BaseModel):
    """The line about the branch: who exports, from what, and what is not in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["edgedesk-feedback"] = "edgedesk-feedback"
    form: Literal[1] = 1
    branch: Label
    """The setting `branch`, or a name made of the journal's secret."""
    exported: Label
    """ISO 8601, UTC."""
    edgedesk: Label
    bundle: Label
    version: Label
    generation: int = Field(ge=0)
    waiting: int = Field(ge=0)
    """Turns in the outbox when it was exported."""
    aside: int = Field(default=0, ge=0)
    """Turns that could not leave."""
    dropped: int = Field(default=0, ge=0)
    """Turns that were dropped because too many waited."""
    refused: tuple[BundleTitle, ...] = Field(default=(), max_length=MOST_REFUSALS)
    """Releases that failed their trial in this branch."""


@dataclass(frozen=True)
class FeedbackExport:
    """One file, read."""

    path: Path
    header: ExportHeader
    rows: tuple[OutboxRow, ...]


def export_lines(header: ExportHeader, rows: Iterable[OutboxRow]) -> Iterator[bytes]:
    """The lines of a file or an upload."""
    for model in (header, *rows):
        yield (escape_line_breaks(model.model_dump_json(exclude_none=True)) + "\n").encode()


def write_export(path: Path, header: ExportHeader, rows: Iterable[OutboxRow]) -> None:
    """Write one file."""
    write_atomic(path, export_lines(header, rows), mode=0o600)


def read_export(path: Path) -> FeedbackExport:
    """Read one file; `InputError` with its line where it is none of ours or was damaged."""
    header = _read_header(path)
    rows = []
    for number, row in parse_rows(OutboxRow, path):
        if number == header[0]:
            continue
        if isinstance(row, InputError):
            raise row
        rows.append(row)
    return FeedbackExport(path, header[1], tuple(rows))


@dataclass(frozen=True)
class UnreadableExport:
    """A file that is no export or not a whole one."""

    path: Path
    what: str
    """What is wrong with it, with its line."""


def read_exports(paths: Sequence[Path]) -> tuple[list[FeedbackExport], list[UnreadableExport]]:
    """Read what can be read of many files, each whole or not at all; the others are named beside it.

    A stick that was pulled out tears one file and must not keep head office from the rest. `InputError` where not one
    of them can be read.
    """
    read: list[FeedbackExport] = []
    unreadable: list[UnreadableExport] = []
    for path in paths:
        try:
            read.append(read_export(path))
        except EdgedeskError as error:
            line = error.where.removeprefix(f"{path}:")
            unreadable.append(UnreadableExport(path, f"line {line}: {error.what}" if line.isdecimal() else error.what))
        except OSError as error:
            unreadable.append(UnreadableExport(path, error.strerror or type(error).__name__))
    if unreadable and not read:
        raise InputError(
            f"not one of {len(unreadable)} feedback files can be read; the first: {unreadable[0].what}",
            where=str(unreadable[0].path),
            hint=_HINT,
        )
    return read, unreadable


def require_all_read(unreadable: Sequence[UnreadableExport], done: str) -> None:
    """`InputError` naming the files that could not be read, once `done` was made of the others."""
    if not unreadable:
        return
    shown = "; ".join(f"{one.path.name}: {one.what}" for one in unreadable[:SHOWN_UNREADABLE])
    more = f"; and {len(unreadable) - SHOWN_UNREADABLE} more" if len(unreadable) > SHOWN_UNREADABLE else ""
    files = "file cannot" if len(unreadable) == 1 else "files cannot"
    raise InputError(
        f"{len(unreadable)} feedback {files} be read, and {done} was made of the rest: {shown}{more}",
        where=str(unreadable[0].path.parent),
        hint="ask the branch for it again (edgedesk feedback export), or take it away, and run the command again",
    )


def newest_turns(exports: Iterable[FeedbackExport]) -> dict[tuple[str, int], OutboxRow]:
    """One row a turn, its newest revision, by conversation and number; the same turn may come any number of times."""
    newest: dict[tuple[str, int], OutboxRow] = {}
    for export in exports:
        for row in export.rows:
            known = newest.get((row.conversation, row.turn))
            if known is None or row.revision > known.revision:
                newest[row.conversation, row.turn] = row
    return newest


def _read_header(path: Path) -> tuple[int, ExportHeader]:
    number, line = next(read_lines(path))
    where = f"{path}:{number}"
    try:
        return number, ExportHeader.model_validate(json.loads(line))
    except ValidationError as error:
        raise InputError(
            f"not the first line of a feedback file ({first_problem(error, 'key', ExportHeader).sentence})",
            where=where,
            hint=_HINT,
        ) from None
    except (ValueError, RecursionError):
        raise InputError("not a feedback file", where=where, hint=_HINT) from None
