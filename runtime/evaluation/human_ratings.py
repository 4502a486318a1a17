"""A sheet on which people mark answers, and what their marks say.

    make_sheet   answers of several models, mixed and without the models' names -> CSV text, and the key to it
    read_marks   a filled-in sheet
    judge_marks  means by model, and how far the raters agree

A mark is 1 (worst) to 5, of fluency, relevance and fit to the customer's mood; an empty cell is no mark. Agreement is
Krippendorff's alpha with the interval metric (Krippendorff 2011): 1 all agree, 0 as by chance; from .67 on it is
usually taken as fit to draw on. Promises: a sheet opens in a spreadsheet program as text, in Chinese too, and
no cell can be a formula. Knows nothing of models.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.base.files import read_text
from runtime.errors import InputError

ASPECTS = ("fluency", "relevance", "emotion_fit")
LEAST, MOST = 1, 5
_COLUMNS = ("item", "lang", "question", "answer", *ASPECTS)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Marks = dict[str, dict[str, int]]
"""item -> aspect -> mark"""
Key = dict[str, dict[str, str]]
"""item -> {"model", "id"}"""


def make_sheet(answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, Key]:
    """CSV with a row an answer, in an order that tells nothing of the models, and what each item is.

    `answers` are the rows of an evaluation by model. The same answers always give the same sheet.
    """
    rows = []
    for model, given in answers.items():
        for row in given:
            digest = hashlib.sha256(f"{row['id']}\0{model}\0{row['answer']}".encode()).hexdigest()
            rows.append((digest, model, row))
    rows.sort(key=lambda row: row[0])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    key: Key = {}
    for number, (_, model, row) in enumerate(rows, start=1):
        item = f"a{number:04}"
        key[item] = {"model": model, "id": str(row["id"])}
        cells = [item, row["lang"], row["question"], row["answer"]]
        writer.writerow([_plain(str(cell)) for cell in cells] + [""] * len(ASPECTS))
    return "\ufeff" + text.getvalue(), key


def read_marks(path: Path) -> Marks:
    """The marks of a filled-in sheet; `InputError` with file and line for one that is none."""
    reader = csv.DictReader(io.StringIO(read_text(path)))
    missing = [name for name in ("item", *ASPECTS) if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"no column '{missing[0]}'", where=str(path), hint="fill in the sheet as it was exported")
    marks: Marks = {}
    for row in reader:
        where = f"{path}:{reader.line_num}"
        item = (row["item"] or "").strip()
        if item in marks:
            raise InputError(f"item '{item}' stands twice", where=where, hint="one row an item")
        marks[item] = {
            aspect: _mark(cell.strip(), aspect, where) for aspect in ASPECTS if (cell := row[aspect] or "").strip()
        }
    return marks


def judge_marks(sheets: Mapping[str, Marks], key: Key) -> dict[str, Any]:
    """Means by model and agreement by aspect; `InputError` for an item that the key does not know.

    {"raters", "marks", "agreement": {aspect: alpha or None}, "models": {model: {aspect: mean or None}}}; alpha is None
    where no item has two marks, or all marks are the same.
    """
    for rater, marks in sheets.items():
        if unknown := [item for item in marks if item not in key]:
            raise InputError(f"item '{unknown[0]}' is not in the key", where=rater, hint="give the key of this sheet")
    given: dict[tuple[str, str], list[int]] = defaultdict(list)
    for aspect in ASPECTS:
        for marks in sheets.values():
            for item, row in marks.items():
                if aspect in row:
                    given[key[item]["model"], aspect].append(row[aspect])
    models = sorted({entry["model"] for entry in key.values()})

    def mean(values: Sequence[int]) -> float | None:
        return round(sum(values) / len(values), 3) if values else None

    return {
        "raters": len(sheets),
        "marks": sum(len(values) for values in given.values()),
        "agreement": {
            aspect: krippendorff_alpha(
                [[marks[item][aspect] for marks in sheets.values() if aspect in marks.get(item, {})] for item in key]
            )
            for aspect in ASPECTS
        },
        "models": {model: {aspect: mean(given[model, aspect]) for aspect in ASPECTS} for model in models},
    }


def krippendorff_alpha(units: Sequence[Sequence[float]]) -> float | None:
    """Alpha with the interval metric; each unit holds the marks it got, from any number of raters.

    Units with fewer than two marks say nothing of agreement and are left out.
    """
    paired = [unit for unit in units if len(unit) > 1]
    every = [value for unit in paired for value in unit]
    expected = _pairs(every) / (len(every) - 1) if len(every) > 1 else 0.0
    if not expected:
        return None
    observed = math.fsum(_pairs(unit) / (len(unit) - 1) for unit in paired)
    return round(1 - observed / expected, 4)


def _pairs(values: Sequence[float]) -> float:
    """Sum of squared differences over ordered pairs."""
    return 2 * (len(values) * math.fsum(value * value for value in values) - math.fsum(values) ** 2)


def _mark(cell: str, aspect: str, where: str) -> int:
    if not cell.isdecimal() or not LEAST <= int(cell) <= MOST:
        raise InputError(f"{aspect} is '{cell[:20]}'", where=where, hint=f"a mark from {LEAST} to {MOST}, or nothing")
    return int(cell)


def _plain(cell: str) -> str:
    """A cell no spreadsheet program takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
