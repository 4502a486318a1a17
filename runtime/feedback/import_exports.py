"""Exports of many branches become one folder that a build and the reports read.

    records.jsonl       training records of the source `journal`
    corrections.jsonl   drafts that agents rewrote, with the replies: preference pairs
    gaps.jsonl          what customers ask and no article answers
    questions.jsonl     every question with its draft, for a shadow replay
    report.json         what came in, by branch

Promises: the same turn may come in any number of files and revisions and counts once, in its newest; a turn that fits
no record is counted with its reason; the folder appears whole or not at all.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from runtime.base.files import new_folder, write_atomic
from runtime.base.jsonl import write_rows
from runtime.errors import InputError
from runtime.feedback.export_file import FeedbackExport, newest_turns, read_exports
from runtime.feedback.learning import correction_key, corrections_of, gaps_of, records_of, turns_with_context
from runtime.feedback.use import measure_use
from runtime.journal.outbox import OutboxRow
from runtime.text.records import Turn

RECORDS, CORRECTIONS, GAPS = "records.jsonl", "corrections.jsonl", "gaps.jsonl"
QUESTIONS, REPORT = "questions.jsonl", "report.json"


class ReplayedQuestion(BaseModel):
    """A question that a branch was asked, and what its desk made of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    asked: str
    """ISO 8601, UTC."""
    lang: str
    question: str = Field(min_length=1)
    context: tuple[Turn, ...] = ()
    draft: str = ""
    handoff: str | None = None
    model: str = ""


@dataclass(frozen=True)
class ImportReport:
    """What came in and what became of it: judged turns = records + without_reply + gaps that were judged."""

    files: int
    branches: dict[str, dict[str, Any]]
    """By name: turns, use, version, dropped, aside."""
    rows: int
    turns: int
    """Distinct turns: `rows` less what came twice or was replaced by a newer revision."""
    records: int
    corrections: int
    gaps: int
    refused: dict[str, int]
    """Turns that fit no record, by reason."""
    unreadable: dict[str, str]
    """Files of which nothing was taken, with what is wrong with each."""


def import_exports(paths: Sequence[Path], out: Path) -> ImportReport:
    """Read feedback files, or folders of them, and write `out`; files that cannot be read are named in the report.

    `InputError` where none can be read, and for a folder `out` that holds anything but an earlier import.
    """
    files = find_exports(paths)
    if out.exists() and not (out / REPORT).is_file():
        raise InputError("is there already and holds no import", where=str(out), hint="name another folder: --out")
    exports, unreadable = read_exports(files)
    turns = newest_turns(exports)
    refused: Counter[str] = Counter()
    usable = {}
    for name, row in turns.items():
        if reason := _why_unusable(row):
            refused[reason] += 1
        else:
            usable[name] = row
    records, corrections, gaps = records_of(usable), corrections_of(usable), gaps_of(usable.values())
    questions = [
        ReplayedQuestion(
            key=correction_key(row.conversation, row.turn),
            asked=row.asked,
            lang=row.lang,
            question=row.question,
            context=context,
            draft=row.draft,
            handoff=row.handoff,
            model=row.model,
        )
        for row, context in turns_with_context(usable)
    ]
    report = ImportReport(
        files=len(exports),
        branches=_by_branch(exports),
        rows=sum(len(export.rows) for export in exports),
        turns=len(turns),
        records=len(records),
        corrections=len(corrections),
        gaps=len(gaps),
        refused=dict(refused),
        unreadable={str(one.path): one.what for one in unreadable},
    )
    with new_folder(out, private=True) as folder:
        write_rows(folder / RECORDS, records)
        write_rows(folder / CORRECTIONS, corrections)
        write_rows(folder / GAPS, gaps)
        write_rows(folder / QUESTIONS, questions)
        write_atomic(folder / REPORT, json.dumps(vars(report), ensure_ascii=False, indent=1) + "\n")
    return report


def find_exports(paths: Sequence[Path]) -> list[Path]:
    """The files named and all in the folders named, each once; `InputError` for a folder without any."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
            if not inside:
                raise InputError("an empty folder", where=str(path), hint="put feedback files into it")
            found += inside
        else:
            found.append(path)
    return list(dict.fromkeys(path.absolute() for path in found))


def _why_unusable(row: OutboxRow) -> str:
    if len(row.lang) != 2 or not row.lang.isascii() or not row.lang.islower():
        return "no language"
    return "" if row.question.strip() else "no question"


def _by_branch(exports: Sequence[FeedbackExport]) -> dict[str, dict[str, Any]]:
    by_name: defaultdict[str, list[FeedbackExport]] = defaultdict(list)
    for export in exports:
        by_name[export.header.branch].append(export)
    out = {}
    for name, own in sorted(by_name.items()):
        newest = max(own, key=lambda export: export.header.exported).header
        turns = newest_turns(own)
        out[name] = {
            **newest.model_dump(include={"bundle", "version", "exported", "dropped", "aside"}),
            "turns": len(turns),
            "use": measure_use(turns.values()).as_dict(),
        }
    return out
