"""Reads support transcripts, from whatever form they come in, into one raw conversation form.

Three forms: our own JSONL (one conversation a line), CSV (one message a line; columns conversation, role, content), and
the chats of tau-bench (`messages_display`). Promises: a file that is no transcript raises; a row that does not fit is
handed on as the error that refuses it, with file and line, and takes its conversation with it, because a question
must never be paired with the reply to another. Nothing is redacted, paired or split here: that is
`distill.data.prepare`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from distill.data.conversation import RawConversation, RawTurn
from runtime.base.files import read_lines, read_text
from runtime.base.jsonl import parse_rows
from runtime.base.validation import first_problem
from runtime.errors import InputError, UsageError
from runtime.text.articles import guess_language

MAX_CSV_BYTES = 256 * 1024 * 1024


def read_transcripts(path: Path, *, form: str = "auto", lang: str = "") -> Iterator[RawConversation | InputError]:
    """Conversations of a file, or the error that refuses a row; raises `InputError` for a file that is none at all.

    `form`: jsonl, csv, taubench or auto (by the file's name and first line). `lang` is used where the file names none.
    """
    if form == "auto":
        form = "csv" if path.suffix.lower() in (".csv", ".tsv") else _json_form(path)
    if form not in _READERS:
        raise UsageError(f"unknown form of transcripts '{form}'", hint=f"known: auto, {', '.join(_READERS)}")
    for item in _READERS[form](path):
        if isinstance(item, InputError):
            yield item
        else:
            text = "".join(turn.content for turn in item.turns)
            yield item.model_copy(update={"lang": item.lang or lang or guess_language(text)})


def _json_form(path: Path) -> str:
    _, first = next(read_lines(path))
    return "taubench" if '"messages_display"' in first[:200] else "jsonl"


def read_jsonl(path: Path) -> Iterator[RawConversation | InputError]:
    """Our own form, one `RawConversation` a line."""
    for number, row in parse_rows(RawConversation, path):
        yield row if isinstance(row, InputError) else row.model_copy(update={"where": row.where or f"{path}:{number}"})


def read_csv(path: Path) -> Iterator[RawConversation | InputError]:
    """Rows conversation, role, content in their order; lang, intent, emotion, evidence (space between) if there.

    Separator: tab in .tsv, else comma. Other columns are left alone.
    """
    text = read_text(path, max_bytes=MAX_CSV_BYTES)
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
    )
    try:
        columns = [name.strip().lower() for name in next(rows)]
        for column in ("conversation", "role", "content"):
            if column not in columns:
                raise InputError(
                    f"column '{column}' is missing",
                    where=f"{path}:1",
                    hint=f"found: {', '.join(columns)}; needed: conversation, role, content",
                )
        yield from _group(path, columns, _numbered(rows))
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", where=f"{path}:{rows.line_num}", hint="check the quotes") from None


def _numbered(rows: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    start = 2
    for row in rows:
        yield start, row
        start = getattr(rows, "line_num", start) + 1  # a quoted cell may span lines


def _group(
    path: Path, columns: list[str], rows: Iterable[tuple[int, list[str]]]
) -> Iterator[RawConversation | InputError]:
    turns: dict[str, list[RawTurn]] = {}
    first: dict[str, tuple[int, str]] = {}
    refused: dict[str, InputError] = {}
    for number, row in rows:
        if not any(cell.strip() for cell in row):
            continue
        cells = dict(zip(columns, row, strict=False))
        name = cells["conversation"].strip() if "conversation" in cells else ""
        where = f"{path}:{number}"
        try:
            if len(row) != len(columns):
                raise InputError(f"{len(row)} cells, the first line has {len(columns)}", where=where)
            if not name:
                raise InputError("column 'conversation' is empty", where=where)
            turn = _csv_turn(cells, where)
        except InputError as error:
            if not name:
                yield error
            else:
                refused.setdefault(name, error)
                turns.setdefault(name, [])
            continue
        turns.setdefault(name, []).append(turn)
        first.setdefault(name, (number, cells.get("lang", "").strip()))
    for name, found in turns.items():
        if why := refused.get(name):
            yield InputError(f"{why.what}; conversation '{name}' is left out", where=why.where, hint=why.hint)
        else:
            number, lang = first[name]
            where = f"{path}:{number}"
            try:
                yield RawConversation(conversation=name, lang=lang, turns=tuple(found), where=where)
            except ValidationError as error:
                problem = first_problem(error, "column")
                hint = problem.hint or "a two-letter code such as en or zh, or an empty cell to go by the script"
                yield InputError(f"{problem.sentence}; conversation '{name}' is left out", where=where, hint=hint)


def _csv_turn(cells: dict[str, str], where: str) -> RawTurn:
    evidence = cells.get("evidence")
    try:
        return RawTurn.model_validate(
            {
                "role": cells["role"],
                "content": cells["content"],
                "intent": cells.get("intent", "").strip() or None,
                "emotion": cells.get("emotion", "").strip() or None,
                "evidence": None if evidence is None else tuple(evidence.split()),
            }
        )
    except ValidationError as error:
        problem = first_problem(error, "column", RawTurn)
        raise InputError(problem.sentence, where=where, hint="roles are user and assistant") from None


def read_taubench(path: Path) -> Iterator[RawConversation | InputError]:
    """Chats of tau-bench (Yao et al. 2024): a `messages_display` string with user:, assistant: and tool: lines."""
    from distill.data.importers.taubench import parse_chat

    for number, line in read_lines(path):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
            display = row["messages_display"]
            yield parse_chat(display, f"{path.stem}-{number}", where)
        except json.JSONDecodeError as error:
            yield InputError(f"not a JSON object ({error.msg})", where=where, hint="one JSON object a line")
        except (KeyError, TypeError):
            yield InputError(
                "column 'messages_display' is missing", where=where, hint="a text of user:/assistant: lines"
            )
        except InputError as error:
            yield error


_READERS = {"jsonl": read_jsonl, "csv": read_csv, "taubench": read_taubench}
