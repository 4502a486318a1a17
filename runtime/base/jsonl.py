"""Rows in JSONL files: one JSON object a line, checked by a pydantic model.

Promises: a row that does not fit is refused with file and line, never dropped in silence; a file is written whole or
not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from runtime.base.files import read_lines, write_atomic
from runtime.base.validation import first_problem
from runtime.errors import InputError

Row = TypeVar("Row", bound=BaseModel)


def read_rows(model: type[Row], path: Path) -> Iterator[Row]:
    """Rows of a JSONL file, one at a time; the first that does not fit raises `InputError` with file and line."""
    for _, row in parse_rows(model, path):
        if isinstance(row, InputError):
            raise row
        yield row


def parse_rows(model: type[Row], path: Path) -> Iterator[tuple[int, Row | InputError]]:
    """Every line's number with its row or the error that refuses it, for callers that count refusals and go on."""
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        try:
            yield number, model.model_validate(json.loads(line))
        except ValidationError as error:
            problem = first_problem(error, "column", model)
            columns = f"columns of a {model.__name__.lower()}: {', '.join(model.model_fields)}"
            yield number, InputError(problem.sentence, where=where, hint=problem.hint or columns)
        except (ValueError, RecursionError) as error:  # broken JSON, a number of 5,000 digits, 5,000 brackets
            reason = str(error).splitlines()[0][:200]
            yield number, InputError(f"not a JSON object ({reason})", where=where, hint="one JSON object a line")


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write rows as JSONL, whole or not at all; returns how many."""
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for row in rows:
            count += 1
            yield (row.model_dump_json(exclude_none=True) + "\n").encode()

    write_atomic(path, lines())
    return count
