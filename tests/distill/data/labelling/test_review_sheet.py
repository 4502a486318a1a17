"""The review sheet: what a person decides comes back, what is unclear changes nothing, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import load_workbook

from distill.data.labelling.review_sheet import (
    COLUMNS,
    Doubt,
    ReviewDecision,
    apply_decisions,
    read_sheet,
    write_sheet,
)
from runtime.errors import InputError
from runtime.text.records import Record

HOSTILE = '=HYPERLINK("http://x.example","click")'


def record(name: str, query: str, *, lang: str = "en", intent: str = "delivery") -> Record:
    return Record(
        id=name, conversation=name, turn=1, lang=lang, query=query, response="'Yes.", intent=intent,
        source="transcript", split="train",
    )  # fmt: skip


RECORDS = [
    record("r1", "Where is it?"),
    record("r2", HOSTILE),
    record("r3", "包裹在哪里？\n急！", lang="zh", intent="refund"),
    record("r4", "-1+2"),
]


def edit(path: Path, change: Callable[[str, str], str]) -> None:
    """Fill cells as a person does: `change(id, column)` gives the new text, "" to leave it."""
    if path.suffix == ".xlsx":
        book = load_workbook(path)
        sheet = book.worksheets[0]
        for row in sheet.iter_rows(min_row=2):
            for name, cell in zip(COLUMNS, row, strict=True):
                if new := change(str(row[0].value), name):
                    cell.value = new
        book.save(path)
        return
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    for cells in rows[1:]:
        for place, name in enumerate(COLUMNS):
            cells[place] = change(cells[0], name) or cells[place]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";").writerows(rows)  # as a European spreadsheet saves it
    path.write_text(out.getvalue(), encoding="utf-8")


@pytest.mark.parametrize("name", ["review.csv", "review.xlsx"])
def test_decisions_come_back_and_change_the_records(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_sheet(path, [Doubt(each, "odd", "refund", 0.5) for each in RECORDS]) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_sheet(path) == []
    decided = {("r1", "decision"): "refund", ("r2", "decision"): "DROP", ("r3", "emotion"): "angry"}
    edit(path, lambda identity, column: decided.get((identity, column), ""))
    decisions = read_sheet(path, intents=["delivery", "refund"])
    assert decisions == [
        ReviewDecision("r1", intent="refund"),
        ReviewDecision("r2", drop=True),
        ReviewDecision("r3", emotion="angry"),
    ]
    changed = list(apply_decisions(RECORDS, decisions))
    assert [(each.id, each.intent, each.emotion) for each in changed] == [
        ("r1", "refund", None), ("r3", "refund", "angry"), ("r4", "delivery", None),
    ]  # fmt: skip
    assert changed[1].query == RECORDS[2].query


def test_no_cell_of_a_sheet_is_a_formula(tmp_path: Path) -> None:
    for name in ("a.csv", "a.xlsx"):
        write_sheet(tmp_path / name, [Doubt(each, "odd") for each in RECORDS])
    rows = list(csv.reader(io.StringIO((tmp_path / "a.csv").read_text(encoding="utf-8-sig"), newline="")))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    cells = [cell for row in load_workbook(tmp_path / "a.xlsx").worksheets[0].iter_rows() for cell in row]
    assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
    assert HOSTILE in [cell.value for cell in cells]


@pytest.mark.parametrize("name", ["review.csv", "review.xlsx"])
def test_unclear_rows_are_named_together_and_nothing_is_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_sheet(path, [Doubt(each, "odd") for each in RECORDS])
    wrong = {("r1", "decision"): "refnud", ("r2", "emotion"): "cross", ("r4", "id"): "r1"}
    edit(path, lambda identity, column: wrong.get((identity, column), ""))
    with pytest.raises(InputError) as caught:
        read_sheet(path, intents=["refund"])
    said = str(caught.value)
    assert "3 rows are not clear" in said
    assert "row 2: 'refnud' is no intent" in said
    assert "row 3: 'cross' is no emotion" in said
    assert "row 5: id 'r1' stands in row 2 too" in said


def test_sheet_of_other_records_is_refused() -> None:
    with pytest.raises(InputError, match="2 ids of the sheet are of no record, the first is 'x'"):
        list(apply_decisions(RECORDS, [ReviewDecision("x", drop=True), ReviewDecision("y", drop=True)]))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", b"question,reply\nx,y\n", "the column 'id' is missing"),
        ("a.xlsx", b"no workbook", "not an Excel workbook"),
        ("a.csv", b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_file_that_is_no_sheet_is_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=why):
        read_sheet(tmp_path / name)


def test_workbook_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"xl/{number}.xml", bytes(64 * 1024 * 1024))
    with pytest.raises(InputError, match="unpacks to more than 512 MiB"):
        read_sheet(path)
