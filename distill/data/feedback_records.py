"""Records out of what agents corrected, beside those of the last release: what continual tuning learns from.

    new       records of an import (`edgedesk feedback import`) that the last release was not trained on
    earlier   the last release's own records; of its training records so many are replayed for each new one

Promises: a correction is always for training, and no earlier record contradicts it: one with the same question in the
same conversation and another reply is dropped. Held-out records stay held out, so that two releases are measured on the
same ones. What is left out is counted with its reason. Everything is redacted again: a branch may be older than a rule.
"""

from __future__ import annotations

import functools
import hashlib
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from distill.data.dataset import HELD_OUT, evidence_linker, make_records
from distill.data.prepare import SHARES, split_of
from distill.recipe.recipe import Recipe
from runtime.base.jsonl import read_rows, write_rows
from runtime.desk.policy import read_policy
from runtime.errors import InputError
from runtime.feedback.import_exports import CORRECTIONS, RECORDS
from runtime.feedback.learning import Correction
from runtime.retrieval.past_questions import ASKED_FILE, select_past_questions
from runtime.text.articles import load_articles
from runtime.text.personal_data import NO_RULES, PersonalRules
from runtime.text.records import Record, Split, Turn
from runtime.text.redaction import Redactor

Row = TypeVar("Row", bound=BaseModel)
Rows = Mapping[Split, Sequence[Record]]


def make_all_records(recipe: Recipe, articles: Path, out: Path) -> dict[str, Any]:
    """The stage `records`: of the recipe's own conversations or the last release's, and of imported feedback.

    Also writes the corrections beside them, for the receipt. Returns the report; `InputError` for an import that holds
    nothing to learn where there is a last release to learn it.
    """
    last = recipe.last_release
    if last is None:
        report = make_records(recipe, articles, out)
        if recipe.data.feedback is None:
            return report
        earlier = _read(out)
    else:
        earlier, report = _read(last.work / "records"), {}
        if (held_out := last.work / "records" / HELD_OUT).is_dir():
            shutil.copytree(held_out, out / HELD_OUT)
    counts: Counter[str] = Counter()
    new, corrections = _feedback(recipe, articles, counts)
    rows = merge_records(
        earlier,
        new,
        corrected={f"journal/{one.key}" for one in corrections},
        seed=recipe.data.seed,
        replay=None if last is None else last.replay,
        counts=counts,
    )
    if last is not None and not counts["new"]:
        raise InputError(
            "nothing in the import is new to the last release",
            where=str(recipe.data.feedback or "data.feedback"),
            hint="import newer exports into data.feedback, or leave [last_release] out",
        )
    for split, kept in rows.items():
        write_rows(out / f"{split}.jsonl", kept)
    write_rows(out / CORRECTIONS, corrections)
    # A branch finds sections by every question that was asked, also by those that this round does not replay.
    asked = [*earlier["train"], *(record for record in rows["train"] if record.source == "journal")]
    write_rows(out / ASKED_FILE, select_past_questions(asked))
    return {**report, "by_split": {split: len(kept) for split, kept in rows.items()}, "feedback": dict(counts)}


def merge_records(
    earlier: Rows,
    new: Sequence[Record],
    *,
    corrected: frozenset[str] | set[str],
    seed: int,
    replay: float | None,
    counts: Counter[str],
) -> dict[Split, list[Record]]:
    """Earlier and new records by split (pure); `corrected` are the ids of corrections.

    With `replay` only so many earlier training records stay for each new one, the same ones whenever the seed is the
    same; None keeps all. `counts` says what became of each.
    """
    known = {(record.id, record.response) for rows in earlier.values() for record in rows}
    fresh = [record for record in new if (record.id, record.response) not in known]
    said = {_question(record): record.response for record in fresh if record.id in corrected}
    replaced = {record.id for record in fresh}

    def stands(record: Record) -> bool:
        return record.id not in replaced and said.get(_question(record), record.response) == record.response

    rows: dict[Split, list[Record]] = {split: [one for one in earlier[split] if stands(one)] for split in SHARES}
    counts["contradicted"] += sum(map(len, earlier.values())) - sum(map(len, rows.values()))
    placed = [
        record.model_copy(update={"split": "train" if record.id in corrected else split_of(record.conversation, seed)})
        for record in fresh
    ]
    counts["new"] += len(placed)
    counts["corrections"] += sum(record.id in corrected for record in placed)
    if replay is not None:
        learned = sum(record.split == "train" for record in placed)
        rows["train"] = _spread(rows["train"], math.ceil(replay * learned), seed)
        counts["replayed"] += len(rows["train"])
    for record in placed:
        rows[record.split].append(record)
    return rows


def _spread(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """So many records, chosen by a hash of their ids, in the order they had."""
    order = sorted(records, key=lambda record: hashlib.sha256(f"{seed}:{record.id}".encode()).digest())
    chosen = {record.id for record in order[:count]}
    return [record for record in records if record.id in chosen]


def _question(record: Record) -> tuple[str, str, tuple[str, ...]]:
    return record.lang, record.query, tuple(turn.content for turn in record.context)


def _read(folder: Path) -> dict[Split, list[Record]]:
    paths = {split: folder / f"{split}.jsonl" for split in get_args(Split)}
    return {split: _rows(Record, path) for split, path in paths.items()}


def _feedback(recipe: Recipe, articles: Path, counts: Counter[str]) -> tuple[list[Record], list[Correction]]:
    """The import's records that rest on a section, and its corrections, redacted."""
    folder = recipe.data.feedback
    if folder is None:
        return [], []
    loaded = load_articles(articles)
    public = "\n".join(section.text for article in loaded for section in article.sections)
    policies = [read_policy(path).personal for path in recipe.data.policy.values()]
    rules = functools.reduce(PersonalRules.__or__, policies, NO_RULES)
    refs = {section.ref for article in loaded for section in article.sections}
    link = evidence_linker(loaded)
    records = []
    for record in _rows(Record, folder / RECORDS):
        if record.lang not in recipe.languages:
            counts["other_language"] += 1
            continue
        evidence = tuple(ref for ref in record.evidence if ref in refs)
        if not evidence:
            # Articles have changed since, or the draft that cited them was wrong.
            found = link(f"{record.query} {record.response}")
            evidence = (found,) if found else ()
        if not evidence:
            counts["without_section"] += 1
            continue
        redact = Redactor(public, rules).redact
        context = tuple(Turn(role=turn.role, content=redact(turn.content)) for turn in record.context)
        texts = {"context": context, "query": redact(record.query), "response": redact(record.response)}
        records.append(record.model_copy(update={"evidence": evidence, **texts}))
    return records, [
        _redacted(one, Redactor(public, rules).redact)
        for one in _rows(Correction, folder / CORRECTIONS)
        if one.lang in recipe.languages
    ]


def _redacted(one: Correction, redact: Callable[[str], str]) -> Correction:
    context = tuple(Turn(role=turn.role, content=redact(turn.content)) for turn in one.context)
    texts = {"question": redact(one.question), "draft": redact(one.draft), "reply": redact(one.reply)}
    return one.model_copy(update={"context": context, **texts})


def _rows(model: type[Row], path: Path) -> list[Row]:
    return list(read_rows(model, path)) if path.stat().st_size else []
