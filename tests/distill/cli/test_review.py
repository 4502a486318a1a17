"""`edgedesk data review`: a wrong intent is exported, corrected by hand and imported."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from typer.testing import CliRunner

from distill.cli.data import app
from runtime.base.jsonl import read_rows, write_rows
from runtime.text.records import Record

FORMS = {"delivery": ("when does the {} arrive", "{}什么时候送到"), "refund": ("money back for the {}", "{}怎么退款")}
THINGS = ("lamp", "desk", "fridge", "chair", "radio", "oven")


def test_review_sheet_goes_out_and_comes_back(tmp_path: Path) -> None:
    rows = [
        Record(
            id=f"{label}-{lang}-{thing}", conversation="c", turn=1, lang=lang, query=form.format(thing),
            response="Yes.",
            intent="delivery" if (label, lang, thing) == ("refund", "en", "lamp") else label,
            source="transcript", split="train" if thing != "oven" else "test",
        )
        for label, forms in FORMS.items()
        for lang, form in zip(("en", "zh"), forms, strict=True)
        for thing in THINGS
    ]  # fmt: skip
    folder, sheet, out = tmp_path / "records", tmp_path / "review.csv", tmp_path / "reviewed"
    folder.mkdir()
    for split in ("train", "test"):
        write_rows(folder / f"{split}.jsonl", [row for row in rows if row.split == split])
    run = CliRunner().invoke(app, ["review", "export", str(folder), str(sheet), "--most", "5", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout.splitlines()[-1]) == {"rows": 5, "compared": 24}
    cells = list(csv.reader(io.StringIO(sheet.read_text(encoding="utf-8-sig"), newline="")))
    places = [row[0] for row in cells[1:]]
    assert "refund-en-lamp" in places
    cells[1 + places.index("refund-en-lamp")][8] = "refund"
    text = io.StringIO(newline="")
    csv.writer(text).writerows(cells)
    sheet.write_text(text.getvalue(), encoding="utf-8")
    run = CliRunner().invoke(app, ["review", "import", str(folder), str(sheet), "--out", str(out), "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout.splitlines()[-1])["intents changed"] == 1
    read = {row.id: row for split in ("train", "test") for row in read_rows(Record, out / f"{split}.jsonl")}
    assert len(read) == 24
    assert read["refund-en-lamp"].intent == "refund"
