"""Makes records out of raw conversations: redacted, split, without repeats or leaks, and accounted for.

    conversations ─ steps (pure, row by row, on any engine) ─ records ─ repeats and leaks out ─ files

    train, valid, test.jsonl   records            refused.jsonl   rows that were not used: file, line, reason
    labelled.jsonl             questions with a label and no reply, for the classifiers
    lineage.jsonl              where each record comes from       report.json, card.md, card.html   the account

Promises: personal data is replaced before anything is written into these files; a conversation is in one split only;
what is not kept is counted with its reason; memory holds one number a record, and of those that are compared the text.
What waits on disk meanwhile is readable by its owner alone and gone at the end.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, get_args

from distill.data.conversation import RawConversation
from distill.data.data_card import write_card
from distill.data.engines import Engine, Outcome, run_rows
from distill.data.importers.account import FileAccount
from distill.data.labelled import LABELLED_FILE, LabelledQuestion
from distill.data.leakage import check_leakage, find_leaks
from distill.data.record_making import MAX_CONTEXT_TURNS, merge_turns, normalise, records
from distill.data.splits import SHARES, place_of, split_name, split_of
from distill.data.steps import Dropped, Step, StepCounts, run_steps
from distill.data.training_split import TrainingShape, shape_training
from runtime.base.files import private_folder, write_atomic
from runtime.base.jsonl import read_rows
from runtime.base.manifest import digest
from runtime.errors import InputError
from runtime.text.personal_data import NO_RULES, PersonalRules
from runtime.text.records import Record, Split
from runtime.text.redaction import Redactor

__all__ = ["MAX_CONTEXT_TURNS", "SHARES", "Preparation", "merge_turns", "normalise", "prepare", "records", "split_of"]

_FEWEST_GROUPS = 3
_MANY = 1000
"""A test split of so many records is left as it is."""
_BY: tuple[str, ...] = ("split", "intent", "emotion", "lang", "source")
REFUSED_FILE = "refused.jsonl"
LINEAGE_FILE = "lineage.jsonl"
Link = Callable[[str], str | None]


@dataclass(frozen=True)
class Preparation:
    """How conversations become records."""

    seed: int
    link: Link | None = None
    """Names the best section for a question whose transcript names none; picklable, since workers get a copy."""
    public: str = ""
    """Text that the company publishes: contacts in it are not personal."""
    rules: PersonalRules = NO_RULES
    conversation_steps: tuple[Step[RawConversation], ...] = ()
    """Run on each conversation as it was written, before redaction."""
    record_steps: tuple[Step[Record], ...] = ()
    """Run on each record."""
    cutoffs: tuple[float, float] | None = None
    """Times from which conversations are for validation, and for testing; None = split by name."""
    engine: Engine = "auto"
    training: TrainingShape = field(default_factory=TrainingShape)
    """What is done to the training records as a whole."""
    keep_leaks: bool = False
    """Whether held-out records that leak stay, so that the check fails, instead of being left out and counted."""

    def split(self, conversation: RawConversation) -> Split:
        """The split of a conversation."""
        if self.cutoffs is None:
            return split_of(split_name(conversation.conversation), self.seed)
        time = conversation.time
        return "train" if time is None or time < self.cutoffs[0] else "valid" if time < self.cutoffs[1] else "test"


@dataclass(frozen=True)
class RowWork:
    """What a worker does with a batch of conversations; everything it returns may be written."""

    how: Preparation

    def __call__(self, lines: Sequence[str]) -> list[Outcome]:
        out: list[Outcome] = []
        for line in lines:
            out += self._one(RawConversation.model_validate_json(line))
        return out

    def _one(self, conversation: RawConversation) -> Iterator[Outcome]:
        counts = StepCounts()
        prepared = run_steps(conversation, self.how.conversation_steps, counts)
        if isinstance(prepared, tuple):
            yield _dropped(*prepared, where=conversation.where)
            return
        redactor = Redactor(self.how.public, self.how.rules)
        made = records(prepared, redactor, split=self.how.split(prepared), link=self.how.link)
        for record in made:
            if record is None:
                yield Outcome("without_reply", "")
                continue
            if isinstance(record, LabelledQuestion):
                yield Outcome("labelled", record.model_dump_json(exclude_none=True))
                yield _lineage(record.id, conversation.where)
                continue
            through = run_steps(record, self.how.record_steps, counts)
            if isinstance(through, tuple):
                yield _dropped(*through, where=record.id)
            else:
                yield Outcome("record", through.model_dump_json(exclude_none=True))
                yield _lineage(through.id, conversation.where)
        if redactor.counts:
            yield Outcome("redactions", json.dumps(redactor.counts))


def _lineage(identity: str, where: str) -> Outcome:
    return Outcome("lineage", json.dumps({"id": identity, "where": where}, ensure_ascii=False))


def _dropped(step: str, dropped: Dropped, *, where: str) -> Outcome:
    row = {"step": step, "reason": dropped.reason, "where": dropped.where or where, "detail": dropped.detail}
    return Outcome("dropped", json.dumps(row, ensure_ascii=False))


def prepare(
    conversations: Iterable[RawConversation | InputError],
    out: Path,
    *,
    seed: int = 7,
    how: Preparation | None = None,
    accounts: Sequence[FileAccount] = (),
    title: str = "Records",
    **options: Any,
) -> dict[str, Any]:
    """Write the files of the records into `out`; returns the report.

    `options` are fields of `Preparation`, where `how` is not given. `accounts` are filled by the readers meanwhile.
    `InputError` when nothing is kept, `GateError` when a held-out record leaks.
    """
    how = how or Preparation(seed=seed, **options)
    report = Report()
    there = out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        return _prepare(conversations, out, how, report, accounts, title)
    except BaseException:
        for name in (*_SPLIT_FILES, *_SIDE_FILES):
            (out / name).unlink(missing_ok=True)
        if not there:
            out.rmdir()
        raise


def _prepare(
    conversations: Iterable[RawConversation | InputError],
    out: Path,
    how: Preparation,
    report: Report,
    accounts: Sequence[FileAccount],
    title: str,
) -> dict[str, Any]:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".rows-", dir=out)))
        private_folder(scratch)
        files = {name: stack.enter_context(_private_file(out / name)) for name in (*_SPLIT_FILES, *_SIDE_FILES)}
        lines = _lines(conversations, report, files[REFUSED_FILE])
        _collect(run_rows(lines, RowWork(how), scratch, engine=how.engine), report, files)
    _hold_something_out(out, how.seed)
    if not how.keep_leaks:
        _drop_leaks(out, report)
    _shape_training(out, how, report)
    _count_records(out, report)
    result = report.as_dict()
    if not result["kept"] and not result["labelled"]:
        raise InputError(
            f"no record could be made of {report.conversations} conversations, {len(report.refused)} refused",
            where=report.refused[0] if report.refused else "",
            hint="a record needs a customer's message and the reply to it, or a label",
        )
    result["compared_for_leaks"] = check_leakage(out)
    result["files"] = [account.as_dict() for account in accounts]
    for name in _SPLIT_FILES:
        (out / name).chmod(0o644)
    write_atomic(out / "report.json", json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    write_card(out, result, title)
    return result


_SPLIT_FILES = tuple(f"{split}.jsonl" for split in SHARES)
_SIDE_FILES = (REFUSED_FILE, LINEAGE_FILE, LABELLED_FILE)


def _private_file(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline="\n")


def _lines(conversations: Iterable[RawConversation | InputError], report: Report, refused: TextIO) -> Iterator[str]:
    """Conversations as JSON lines; what is refused is written aside."""
    for each in conversations:
        if isinstance(each, RawConversation):
            report.conversations += 1
            yield each.model_dump_json(exclude_defaults=True)
            continue
        if len(report.refused) < _REFUSED_SHOWN:
            report.refused.append(str(each))
        report.refused_count += 1
        report.refused_reasons[_reason(each.what)] += 1
        file, line = each.where.rpartition(":")[::2] if each.where.rpartition(":")[2].isdigit() else (each.where, "")
        row = {"file": file, "line": int(line) if line else None, "reason": each.what, "hint": each.hint}
        refused.write(json.dumps(row, ensure_ascii=False) + "\n")


def _reason(what: str) -> str:
    """The sentence without what differs from row to row."""
    return what.split("; conversation '")[0].split(" (")[0][:80]


def _collect(outcomes: Iterable[Outcome], report: Report, files: dict[str, TextIO]) -> None:
    seen: set[int] = set()
    skipped_lineage = False
    for kind, value in outcomes:
        if kind == "record":
            report.read += 1
            record = Record.model_validate_json(value)
            said = [record.lang, [turn.content for turn in record.context], record.query, record.response]
            key = int(digest(said)[:16], 16)
            skipped_lineage = key in seen
            if skipped_lineage:
                report.duplicates += 1
                continue
            seen.add(key)
            files[f"{record.split}.jsonl"].write(value + "\n")
        elif kind == "labelled":
            report.read += 1
            question = LabelledQuestion.model_validate_json(value)
            key = int(digest([question.lang, question.query, question.intent, question.emotion])[:16], 16)
            skipped_lineage = key in seen
            if skipped_lineage:
                report.duplicates += 1
                continue
            seen.add(key)
            report.labelled[question.intent or question.emotion or ""] += 1
            files[LABELLED_FILE].write(value + "\n")
        elif kind == "lineage" and not skipped_lineage:
            files[LINEAGE_FILE].write(value + "\n")
        elif kind == "without_reply":
            report.read += 1
            report.without_reply += 1
        elif kind == "redactions":
            report.redactions.update(json.loads(value))
        elif kind == "dropped":
            row = json.loads(value)
            report.dropped[f"{row['step']}: {row['reason']}"] += 1
            files[REFUSED_FILE].write(value + "\n")


def _hold_something_out(out: Path, seed: int) -> None:
    """Where chance left few conversations without a test, take the one that was nearest to being it.

    Without it a company with twenty sections could not measure anything. Larger sets never come here.
    """
    # Questions that nothing answers measure refusals alone.
    test = list(itertools.islice((row for row in _rows(out / "test.jsonl")), _MANY))
    if len(test) >= _MANY or any(row.evidence for row in test):
        return
    rows = list(_rows(out / "train.jsonl"))
    groups = {split_name(record.conversation) for record in rows if record.evidence}
    if len(groups) < _FEWEST_GROUPS:
        return
    last = max(groups, key=lambda name: place_of(name, seed))
    moved = [row.model_copy(update={"split": "test"}) for row in rows if split_name(row.conversation) == last]
    _rewrite(out / "train.jsonl", (row for row in rows if split_name(row.conversation) != last))
    _rewrite(out / "test.jsonl", [*test, *moved])


def _drop_leaks(out: Path, report: Report) -> None:
    """Leave held-out records out of which a training record says nearly the same."""
    held_out = [row for split in ("valid", "test") for row in _rows(out / f"{split}.jsonl")]
    leaks = {leak.held_out: leak for leak in find_leaks(_rows(out / "train.jsonl"), held_out)}
    if not leaks:
        return
    report.dropped["leakage: near duplicate of a training record"] += len(leaks)
    for split in ("valid", "test"):
        _rewrite(out / f"{split}.jsonl", [row for row in held_out if row.split == split and row.id not in leaks])
    reason = "near duplicate of a training record"
    gone = (Dropped(reason, leak.held_out, leak.train) for leak in leaks.values())
    _append(out / REFUSED_FILE, (_dropped("leakage", each, where=each.where).value for each in gone))


def _shape_training(out: Path, how: Preparation, report: Report) -> None:
    """Near duplicates out, large intents capped, small ones enlarged; held-out records stay as they are."""
    path = out / "train.jsonl"
    shaped = shape_training(lambda: _rows(path), how.training, seed=how.seed)
    if not shaped.dropped and not shaped.made:
        return
    report.dropped.update(f"{step}: {dropped.reason}" for step, dropped in shaped.dropped)
    report.made = len(shaped.made)
    gone = {dropped.where for _, dropped in shaped.dropped}
    _rewrite(path, itertools.chain((row for row in _rows(path) if row.id not in gone), shaped.made))
    rows = (_dropped(step, dropped, where=dropped.where).value for step, dropped in shaped.dropped)
    _append(out / REFUSED_FILE, rows)
    made = ({"id": one.id, "where": f"another way to ask {one.id.rpartition('~')[0]}"} for one in shaped.made)
    _append(out / LINEAGE_FILE, map(json.dumps, made))


def _append(path: Path, lines: Iterable[str]) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _rows(path: Path) -> Iterator[Record]:
    if path.stat().st_size:
        yield from read_rows(Record, path)


def _rewrite(path: Path, rows: Iterable[Record]) -> None:
    write_atomic(path, (f"{row.model_dump_json(exclude_none=True)}\n".encode() for row in rows))


def _count_records(out: Path, report: Report) -> None:
    for split in SHARES:
        for record in _rows(out / f"{split}.jsonl"):
            report.count(record)


_REFUSED_SHOWN = 1000
"""Refusals that the report names itself; all of them are in their own file."""


@dataclass
class Report:
    """What came in and what became of it.

    read + made = kept + labelled + duplicates + without_reply + dropped records.
    """

    conversations: int = 0
    read: int = 0
    without_reply: int = 0
    duplicates: int = 0
    made: int = 0
    kept: int = 0
    labelled: Counter[str] = field(default_factory=Counter)
    """Questions without a reply, by their label."""
    not_answerable: int = 0
    refused_count: int = 0
    refused: list[str] = field(default_factory=list)
    refused_reasons: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    by: dict[str, Counter[str]] = field(default_factory=lambda: {key: Counter() for key in _BY})
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {"query": Counter(), "response": Counter()})

    def count(self, record: Record) -> None:
        """Count one record that is kept."""
        self.kept += 1
        self.not_answerable += not record.evidence
        for key in _BY:
            self.by[key][str(getattr(record, key) or "none")] += 1
        self.lengths["query"][len(record.query).bit_length()] += 1
        self.lengths["response"][len(record.response).bit_length()] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return the form of report.json; counts are of records, `refused` holds `file:line: why`."""
        ordered = {f"by_{key}": dict(sorted(counts.items())) for key, counts in self.by.items()}
        return {
            "conversations": self.conversations,
            "read": self.read,
            "made": self.made,
            "kept": self.kept,
            "labelled": self.labelled.total(),
            "by_label": dict(sorted(self.labelled.items())),
            "duplicates": self.duplicates,
            "without_reply": self.without_reply,
            "refused": self.refused,
            "refused_count": self.refused_count,
            "refused_reasons": dict(self.refused_reasons.most_common()),
            "dropped": dict(self.dropped.most_common()),
            "not_answerable": self.not_answerable,
            **ordered,
            "by_split": {split: self.by["split"][split] for split in get_args(Split)},
            "redactions": dict(sorted(self.redactions.items())),
            "characters": {
                name: {str(2**bits): n for bits, n in sorted(c.items())} for name, c in self.lengths.items()
            },
        }
