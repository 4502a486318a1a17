"""Reads labelled questions: CSV as spreadsheets and data sets write it, or JSONL.

Promises: columns are found by their names, in any order; what cannot be read is refused with file and line, never
misread. Knows nothing of what is learned from the questions.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from distill.classifiers.intent_training import Example
from runtime.base.files import read_text
from runtime.errors import InputError

MAX_BYTES = 256 * 1024 * 1024
TEXT_NAMES = ("text", "question", "query", "utterance", "sentence", "message", "文本", "问题")
LABEL_NAMES = ("label", "intent", "category", "emotion", "class", "标签", "意图", "类别")
_SEPARATORS = ",;\t"
_HINT = f"name the columns in the first line: one of {', '.join(TEXT_NAMES)}; one of {', '.join(LABEL_NAMES)}"


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a `.csv` or `.tsv` file (separated by `,`, `;` or tab), or of a JSONL file of {text, label}.

    `InputError` with file and line for a row without text or label, or a first line that names no columns.
    """
    text = read_text(path, max_bytes=MAX_BYTES)
    yield from _table(text, path) if path.suffix.lower() in (".csv", ".tsv") else _lines(text, path)


def _table(text: str, path: Path) -> Iterator[Example]:
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep="):  # a spreadsheet's own note of the separator
        separator, body = first.strip()[4:] or ",", rest
    else:
        separator, body = max(_SEPARATORS, key=first.count), text
    # Over the whole text, not its lines: a quoted cell may contain line breaks.
    rows = csv.reader(io.StringIO(body, newline=""), delimiter=separator[:1], strict=True)
    skipped = 0 if body is text else 1
    try:
        names = [name.strip().strip('"').lower() for name in next(rows, [])]
        text_column, label_column = _column(names, TEXT_NAMES), _column(names, LABEL_NAMES)
        if text_column is None or label_column is None:
            raise InputError("the first line names no columns of texts and labels", where=f"{path}:1", hint=_HINT)
        line = rows.line_num + 1
        for row in rows:
            if any(cell.strip() for cell in row):
                cells = [row[place].strip() if place < len(row) else "" for place in (text_column, label_column)]
                yield _example(cells[0], cells[1], f"{path}:{line + skipped}")
            line = rows.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"not CSV: {error}", where=f"{path}:{rows.line_num + skipped}", hint="check the quotes"
        ) from None


def _column(names: list[str], known: tuple[str, ...]) -> int | None:
    """The place of the column with the first known name; None where no column or more than one has it."""
    for name in known:
        if names.count(name) == 1:
            return names.index(name)
    return None


def _lines(text: str, path: Path) -> Iterator[Example]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found = str(row["text"] or ""), str(row["label"] or "")
        except (ValueError, KeyError, TypeError):
            found = "", ""
        yield _example(*found, f"{path}:{number}")


def _example(text: str, label: str, where: str) -> Example:
    if not text.strip() or not label.strip():
        raise InputError("not a text and a label", where=where, hint='CSV with a header, or JSONL {"text", "label"}')
    return Example(text, label)
