"""What leaves a branch, as bytes: a line about the branch, then one line a turn. A file and an upload are the same.

    {"format": "edgedesk-feedback", "form": 1, "branch": "Lisbon", …}
    {"key": "…/2/3", "conversation": "…", "turn": 2, "revision": 3, "question": …}

Promises: a file is written whole or not at all, and only its owner may read it; a row keeps its key whenever it is
written, so that whoever reads many files keeps one row a turn, its newest; a file that is not one of these is refused
with its line, before anything of it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import read_lines, write_atomic
from runtime.base.jsonl import parse_rows
from runtime.base.validation import first_problem
from runtime.bundle.bundle import Label, printable
from runtime.bundle.update_state import MOST_REFUSALS
from runtime.errors import InputError
from runtime.events import escape_line_breaks
from runtime.journal.outbox import OutboxRow

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
    hint = "give files that `edgedesk feedback export` wrote, or uploads as they came"
    number, line = next(read_lines(path))
    where = f"{path}:{number}"
    try:
        return number, ExportHeader.model_validate(json.loads(line))
    except ValidationError as error:
        raise InputError(
            f"not the first line of a feedback file ({first_problem(error, 'key', ExportHeader).sentence})",
            where=where,
            hint=hint,
        ) from None
    except (ValueError, RecursionError):
        raise InputError("not a feedback file", where=where, hint=hint) from None
