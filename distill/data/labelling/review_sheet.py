"""A sheet of doubtful records that a person edits and hands back: CSV or XLSX.

    records + why each is doubtful -> rows, the most doubtful first -> a person fills `decision` -> changes to records

`decision` is empty (as it was), `drop`, or the right intent; `emotion` may be corrected in its own column. Promises:
what is read back is checked row by row, all problems are named in one go with their row, and no record changes unless
all rows are right; text that a spreadsheet would run as a formula is written so that it does not, and read back as it
was; a sheet that a European spreadsheet saved with `;`, or with a byte order mark, is read; a sheet is its owner's
alone. Knows nothing of how doubts arise.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from runtime.base.files import read_text, write_atomic
from runtime.errors import InputError
from runtime.text.records import Emotion, Record

COLUMNS = ("id", "lang", "question", "reply", "intent", "suggested", "confidence", "why", "decision", "emotion", "note")
DROP = "drop"
MAX_ROWS = 100_000
MAX_BYTES = 64 * 1024 * 1024
_MAX_CELL_CHARS = 32_000
"""A spreadsheet's cell holds 32,767 characters."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PROBLEMS_NAMED = 20
_HINT = f"write {DROP}, the right intent, or nothing"


class Doubt(NamedTuple):
    """A record that a person should look at."""

    record: Record
    why: str
    suggested: str = ""
    confidence: float = 0.0


class ReviewDecision(NamedTuple):
    """What a person decided about a record."""

    id: str
    drop: bool = False
    intent: str | None = None
    emotion: Emotion | None = None


def write_sheet(path: Path, doubts: Iterable[Doubt]) -> int:
    """Write `.csv` or `.xlsx`, whole or not at all; returns how many rows."""
    rows = [_row(doubt) for doubt in doubts][:MAX_ROWS]
    if path.suffix.lower() == ".xlsx":
        write_atomic(path, [_as_xlsx(rows)], mode=0o600)
    elif path.suffix.lower() == ".csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows([COLUMNS, *([_inert(cell) for cell in row] for row in rows)])
        # The mark tells spreadsheets that it is UTF-8: without it Chinese turns into signs.
        write_atomic(path, "\ufeff" + text.getvalue(), mode=0o600)
    else:
        raise InputError(f"a review sheet is .csv or .xlsx, not '{path.suffix}'", where=str(path))
    return len(rows)


def read_sheet(path: Path, *, intents: Sequence[str] = ()) -> list[ReviewDecision]:
    """The decisions of an edited sheet; rows without one are left out.

    `intents` are those that exist; a decision that is none of them is a problem, unless it is empty. `InputError` names
    every problem with its row.
    """
    decisions: list[ReviewDecision] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, row in _read_rows(path):
        identity = row["id"].strip()
        if not identity:
            if any(row.values()):
                problems.append(f"row {number}: no id")
            continue
        if identity in seen:
            problems.append(f"row {number}: id '{identity}' stands in row {seen[identity]} too")
            continue
        seen[identity] = number
        said, emotion = row["decision"].strip(), row["emotion"].strip().lower()
        if intents and said and said.lower() != DROP and said not in intents:
            problems.append(f"row {number}: '{said[:60]}' is no intent")
        elif emotion and emotion not in get_args(Emotion):
            problems.append(f"row {number}: '{emotion[:60]}' is no emotion ({', '.join(get_args(Emotion))})")
        elif said or emotion:
            drop = said.lower() == DROP
            intent = said if said and not drop else None
            decisions.append(ReviewDecision(identity, drop, intent, emotion or None))  # type: ignore[arg-type]
    if problems:
        named = "\n".join(f"  {problem}" for problem in problems[:_PROBLEMS_NAMED])
        raise InputError(f"{len(problems)} rows are not clear:\n{named}", where=str(path), hint=_HINT)
    return decisions


def apply_decisions(records: Iterable[Record], decisions: Sequence[ReviewDecision]) -> Iterator[Record]:
    """The records as decided; dropped ones are left out, and `InputError` names an id that no record has."""
    by_id = {decision.id: decision for decision in decisions}
    for record in records:
        decision = by_id.pop(record.id, None)
        if decision is None:
            yield record
        elif not decision.drop:
            changes = {"intent": decision.intent, "emotion": decision.emotion}
            yield record.model_copy(update={name: value for name, value in changes.items() if value})
    if by_id:
        raise InputError(
            f"{len(by_id)} ids of the sheet are of no record, the first is '{next(iter(by_id))}'",
            hint="the sheet belongs to other records, or they were made again: export it anew",
        )


def _row(doubt: Doubt) -> list[str]:
    record = doubt.record
    said = [
        record.id,
        record.lang,
        record.query,
        record.response,
        record.intent or "",
        doubt.suggested,
        f"{doubt.confidence:.2f}",
        doubt.why,
        "",
        record.emotion or "",
        "",
    ]
    return [cell[:_MAX_CELL_CHARS] for cell in said]


def _inert(cell: str) -> str:
    """A text that no spreadsheet runs: an apostrophe before what would begin a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) or cell.startswith("'") else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and (cell[1:].startswith(_FORMULA) or cell[1:].startswith("'")) else cell


def _as_xlsx(rows: Sequence[Sequence[str]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.utils.exceptions import IllegalCharacterError

    book = Workbook(write_only=True)
    sheet = book.create_sheet("review")
    sheet.freeze_panes = "A2"
    for name, width in zip("ABCDEFGHIJK", (18, 6, 60, 60, 20, 20, 10, 30, 20, 12, 20), strict=True):
        sheet.column_dimensions[name].width = width
    for row in [COLUMNS, *rows]:
        cells = []
        for text in row:
            try:
                cell = WriteOnlyCell(sheet, value=text)
            except IllegalCharacterError:
                cell = WriteOnlyCell(sheet, value="".join(char for char in text if char >= " " or char in "\n\t"))
            cell.data_type = "s"  # a text, also where it begins with "="
            cells.append(cell)
        sheet.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(row, its cells by column) below the first row, which names the columns."""
    rows = _xlsx_rows(path) if path.suffix.lower() == ".xlsx" else _csv_rows(path)
    number, names = next(rows, (1, []))
    columns = [name.strip().lower() for name in names]
    if missing := [name for name in ("id", "decision", "emotion") if name not in columns]:
        raise InputError(f"the column '{missing[0]}' is missing", where=f"{path}:{number}", hint="keep the first row")
    for number, cells in rows:
        if number > MAX_ROWS + 1:
            raise InputError(f"more than {MAX_ROWS} rows", where=str(path), hint="review sheets are shorter")
        row = dict(zip(columns, (_plain(cell) for cell in cells), strict=False))
        yield number, {name: row.get(name, "") for name in COLUMNS}


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    text = read_text(path, max_bytes=MAX_BYTES).removeprefix("\ufeff")
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep="):
        text, first = rest, rest.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        yield from enumerate(reader, start=1)
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", where=f"{path}:{reader.line_num}", hint="check the quotes") from None


def _xlsx_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    from openpyxl import load_workbook

    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"more than {MAX_BYTES // 1024**2} MiB", where=str(path), hint="review sheets are smaller")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(each.file_size for each in archive.infolist()) > 8 * MAX_BYTES:
                raise InputError("it unpacks to more than 512 MiB", where=str(path), hint="export the sheet anew")
        book = load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, IndexError) as error:
        raise InputError("not an Excel workbook", where=str(path), hint=str(error)[:200]) from None
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        yield number, ["" if cell is None else str(cell) for cell in row[: len(COLUMNS) + 20]]
