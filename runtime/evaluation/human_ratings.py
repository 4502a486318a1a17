"""A sheet on which people mark answers, and what their marks say.

    make_sheet   answers of several models, mixed and without the models' names -> CSV text, and the key to it
    read_marks   a filled-in sheet
    judge_marks  means by model, and how far the raters agree

A mark is 1 (worst) to 5, of fluency, relevance and fit to the customer's mood. A verdict says what the answer would do
at a counter: right, helpful, wrong or misleading, judged by the article alone, which stands in the row. An empty cell
is no mark. Agreement is Krippendorff's alpha with the interval metric (Krippendorff 2011): 1 all agree, 0 as by chance;
from .67 on it is usually taken as fit to draw on. Promises: a sheet opens in a spreadsheet program as text, in Chinese
too, and no cell can be a formula. Knows nothing of models.
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
from runtime.base.statistics import wilson_interval
from runtime.errors import InputError

ASPECTS = ("fluency", "relevance", "emotion_fit")
LEAST, MOST = 1, 5
VERDICT = "verdict"
VERDICTS = {
    "misleading": 0, "wrong": 1, "helpful": 2, "right": 3,
    "误导": 0, "错误": 1, "有帮助": 2, "正确": 3,
}  # fmt: skip
"""What a verdict may say, in the readers' languages, and its mark; a sheet of before there were verdicts has none."""
_GOOD = VERDICTS["helpful"]
_COLUMNS = ("item", "lang", "question", "article", "answer", *ASPECTS, VERDICT)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Marks = dict[str, dict[str, int]]
"""item -> aspect -> mark"""
Key = dict[str, dict[str, str]]
"""item -> {"model", "id"}"""


def make_sheet(
    answers: Mapping[str, Sequence[Mapping[str, Any]]], articles: Mapping[tuple[str, str], str] | None = None
) -> tuple[str, Key]:
    """CSV with a row an answer, in an order that tells nothing of the models, and what each item is.

    `answers` are the rows of an evaluation by model, `articles` the texts of sections by language and reference: of a
    question's evidence, readers see them. The same answers always give the same sheet.
    """
    texts = articles or {}
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
        read = [texts.get((str(row["lang"]), str(ref)), "") for ref in row.get("evidence", ())]
        cells = [item, row["lang"], row["question"], "\n\n".join(filter(None, read)), row["answer"]]
        writer.writerow([_plain(str(cell)) for cell in cells] + [""] * (len(ASPECTS) + 1))
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
            aspect: _mark(cell.strip(), aspect, where)
            for aspect in (*ASPECTS, VERDICT)
            if (cell := row.get(aspect) or "").strip()
        }
    return marks


def judge_marks(sheets: Mapping[str, Marks], key: Key) -> dict[str, Any]:
    """Means by model and agreement by aspect; `InputError` for an item that the key does not know.

    {"raters", "marks", "agreement": {aspect: alpha or None}, "models": {model: {aspect: mean or None}}, "verdicts":
    {model: {"answers", "right_or_helpful", "misleading"}}}; alpha is None where no item has two marks, or all marks are
    the same. Of an answer's verdicts the middle one counts, of two in the middle the worse; shares have 95 % intervals
    (Wilson 1927), and are None where nobody gave a verdict.
    """
    for rater, marks in sheets.items():
        if unknown := [item for item in marks if item not in key]:
            raise InputError(f"item '{unknown[0]}' is not in the key", where=rater, hint="give the key of this sheet")
    given: dict[tuple[str, str], list[int]] = defaultdict(list)
    verdicts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for aspect in (*ASPECTS, VERDICT):
        for marks in sheets.values():
            for item, row in marks.items():
                if aspect == VERDICT and aspect in row:
                    verdicts[key[item]["model"], item].append(row[aspect])
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
            for aspect in (*ASPECTS, VERDICT)
        },
        "models": {model: {aspect: mean(given[model, aspect]) for aspect in ASPECTS} for model in models},
        "verdicts": {
            model: _counted([_middle(marks) for (name, _), marks in verdicts.items() if name == model])
            for model in models
        },
    }


def _middle(marks: Sequence[int]) -> int:
    return sorted(marks)[(len(marks) - 1) // 2]


def _counted(marks: Sequence[int]) -> dict[str, Any]:
    def share(count: int) -> list[float] | None:
        if not marks:
            return None
        low, high = wilson_interval(count, len(marks))
        return [round(count / len(marks), 4), round(low, 4), round(high, 4)]

    return {
        "answers": len(marks),
        "right_or_helpful": share(sum(mark >= _GOOD for mark in marks)),
        "misleading": share(sum(mark == VERDICTS["misleading"] for mark in marks)),
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
    if aspect == VERDICT:
        if cell.casefold() not in VERDICTS:
            raise InputError(
                f"{aspect} is '{cell[:20]}'", where=where, hint=f"one of {', '.join(VERDICTS)}, or nothing"
            )
        return VERDICTS[cell.casefold()]
    if not cell.isdecimal() or not LEAST <= int(cell) <= MOST:
        raise InputError(f"{aspect} is '{cell[:20]}'", where=where, hint=f"a mark from {LEAST} to {MOST}, or nothing")
    return int(cell)


def _plain(cell: str) -> str:
    """A cell no spreadsheet program takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
