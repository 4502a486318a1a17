"""Reads tables row by row: CSV and TSV in any common dialect, XLSX, Parquet.

Promises: constant memory; a row's place is `file:line`; a quoted cell may span lines; a row that does not fit its
header is handed on as an error, never shifted into other columns; a workbook is opened in a child process with limits.
Knows nothing of messages.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from distill.data.importers.encoding import MAX_LINE_CHARS, open_text, text_lines
from distill.data.importers.office import read_office
from runtime.errors import InputError

MAX_COLUMNS = 1000
_SAMPLE_LINES = 200
_SAMPLE_CHARS = 64 * 1024
_DELIMITERS = [",", ";", "\t", "|"]


@dataclass(frozen=True)
class TableRow:
    """Cells of one row, as text, in the header's order."""

    where: str
    cells: Sequence[str]
    problem: str = ""
    """Why it does not fit the header; "" = it does."""


@dataclass(frozen=True)
class SourceTable:
    """A header, and rows as they are read."""

    where: str
    """`file:line` of the header."""
    columns: tuple[str, ...]
    rows: Iterator[TableRow]


def read_table(path: Path, form: str, *, encoding: str = "", sheet: str = "") -> Iterator[SourceTable]:
    """The table of a file, once: a generator, so that the file is closed when the caller is done with the rows.

    `form`: csv, tsv, xlsx or parquet. `InputError` for a file that is no such table.
    """
    if form == "xlsx":
        lines = read_office("xlsx", path, sheet)
        header = next(lines, None)
        if header is None:
            raise InputError("no sheet with rows", where=str(path), hint="the first line names the columns")
        yield SourceTable(
            f"{path}:1", _names(header[1:]), _fitting(path, len(header) - 1, ((int(r[0]), r[1:]) for r in lines))
        )
    elif form == "parquet":
        yield from _parquet(path)
    else:
        with open_text(path, encoding) as text:
            yield from _csv(path, text_lines(text, path), tab=form == "tsv")


def _csv(path: Path, lines: Iterator[str], *, tab: bool) -> Iterator[SourceTable]:
    head: list[str] = []
    for line in islice(lines, _SAMPLE_LINES):
        head.append(line)
        if sum(map(len, head)) > _SAMPLE_CHARS:
            break
    skipped = 0
    delimiter = "\t" if tab else ""
    while head and (not head[0].strip("\ufeff\r\n ") or head[0].strip("\ufeff \r\n").lower().startswith("sep=")):
        note = head.pop(0).strip("\ufeff\r\n")
        skipped += 1
        if note.lower().startswith("sep="):  # a spreadsheet's own note of the separator
            delimiter = note[4:5] or ","
    if not head:
        raise InputError("the file is empty", where=str(path), hint="the first line names the columns")
    delimiter = delimiter or tell_delimiter("".join(head))
    csv.field_size_limit(MAX_LINE_CHARS)
    rows = csv.reader(chain(head, lines), delimiter=delimiter, strict=True)
    try:
        header = next(rows)
    except csv.Error as error:
        raise _not_csv(path, rows.line_num + skipped, error) from None
    yield SourceTable(
        f"{path}:{1 + skipped}", _names(header), _fitting(path, len(header), _numbered(path, rows, skipped))
    )


def tell_delimiter(sample: str) -> str:
    """The separator of a CSV file, by CleverCSV's consistency measure (van den Burg et al. 2019); else a comma."""
    import clevercsv

    try:
        dialect = clevercsv.Detector().detect(sample[:_SAMPLE_CHARS], delimiters=_DELIMITERS)
    except Exception:
        dialect = None
    first = sample.split("\n", 1)[0]
    if dialect is not None and dialect.delimiter in _DELIMITERS and dialect.delimiter in first:
        return str(dialect.delimiter)
    return max(_DELIMITERS, key=first.count)


def _numbered(path: Path, rows: Iterator[list[str]], skipped: int) -> Iterator[tuple[int, list[str]]]:
    start = getattr(rows, "line_num", 0) + 1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # What follows a stray quote belongs to nobody knows which row.
            raise _not_csv(path, start + skipped, error) from None
        yield start + skipped, row
        start = getattr(rows, "line_num", start) + 1  # a quoted cell may span lines


def _not_csv(path: Path, line: int, error: csv.Error) -> InputError:
    open_quote = "unexpected end" in str(error) or "field larger" in str(error)
    what = "a quote that is opened here is not closed" if open_quote else f"not CSV: {error}"
    return InputError(what, where=f"{path}:{line}", hint='write a quote inside a quoted cell twice: ""')


def _fitting(path: Path, width: int, rows: Iterator[tuple[int, Sequence[str]]]) -> Iterator[TableRow]:
    for number, row in rows:
        cells = [cell if isinstance(cell, str) else str(cell) for cell in row]
        if not any(cell.strip() for cell in cells):
            continue
        problem = ""
        if (len(cells) != width and any(cell.strip() for cell in cells[width:])) or len(cells) < width:
            problem = f"{len(cells)} cells, the first line has {width}"
        yield TableRow(f"{path}:{number}", [*cells[:width], *[""] * (width - len(cells))], problem)


def _names(header: Sequence[str]) -> tuple[str, ...]:
    if len(header) > MAX_COLUMNS:
        header = header[:MAX_COLUMNS]
    return tuple(str(name).strip().strip("\ufeff") for name in header)


def _parquet(path: Path) -> Iterator[SourceTable]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, memory_map=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError("not a Parquet file", where=str(path), hint=str(error).splitlines()[0][:200]) from None

    def rows() -> Iterator[tuple[int, list[str]]]:
        number = 1
        try:
            for batch in file.iter_batches(batch_size=1024):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, [cell_text(cell) for cell in row]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0][:200]
            raise InputError("damaged Parquet file", where=f"{path}:{number + 1}", hint=reason) from None

    with file:
        names = tuple(file.schema_arrow.names)
        yield SourceTable(f"{path}:1", _names(names), _fitting(path, len(names), rows()))


def cell_text(value: object) -> str:
    """A typed value as text: whole numbers without a fraction, times as ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() and abs(value) < 1e25 else repr(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return value if isinstance(value, str) else str(value)
