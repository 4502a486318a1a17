"""The training records as a whole: near duplicates out, large intents capped, small ones given other ways to ask.

Held-out records stay as they are, so that figures are those of what people write. Promises: what goes has a reason and
its twin; what is made keeps reply and evidence of the record it was made of, is marked as simulated, and can be traced
to it; the same records and seed give the same outcome. Memory is that of the compared texts and about 1 kB a record.
Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from distill.data.cleaning.duplicates import duplicate_step, near_duplicates
from distill.data.enlarging.balance import balance_step, label_counts, lacking, target_counts
from distill.data.enlarging.question_variants import question_variants
from distill.data.steps import Dropped, StepCounts, WholeStep, run_whole
from runtime.text.records import Record

NEARLY_THE_SAME = "nearly the same as an earlier training record"
MIN_CHARS = 40
"""Shorter pairs ("Thanks!" – "You're welcome!") are alike without being copies."""
MAX_VARIANTS = 8
"""Of one question; more would teach its words instead of its intent."""


@dataclass(frozen=True)
class TrainingShape:
    """What is done to the training records as a whole; the recipe's `[data.balance]` and `data.near_duplicates`."""

    near_duplicates: bool = True
    cap: int | None = None
    """The most records of one intent."""
    floor: int = 0
    """The fewest records of one intent, reached with other ways to ask its questions."""
    temperature: float = 1.0
    """1 keeps the intents' shares; below it small intents are raised towards the largest, at 0 to its size."""


@dataclass(frozen=True)
class ShapedTraining:
    """What is to change: the records that go, by step, and those that come after the ones that stay."""

    dropped: Sequence[tuple[str, Dropped]]
    """Name of the step, and the record's id as `where`."""
    made: Sequence[Record]


class _Row(NamedTuple):
    """What the choice needs of a record."""

    id: str
    intent: str | None
    text: str
    """"" = not compared with others."""


def shape_training(read: Callable[[], Iterable[Record]], shape: TrainingShape, *, seed: int) -> ShapedTraining:
    """Choose what goes and what is made; `read` gives the training records, and is called twice."""
    rows = [_row(record) for record in read()]
    steps: list[WholeStep[_Row]] = []
    if shape.near_duplicates:
        steps.append(duplicate_step("duplicates", _near_twins, NEARLY_THE_SAME, _id))
    if shape.cap is not None:
        steps.append(balance_step(_intent, _id, cap=shape.cap, seed=seed))
    kept, dropped = run_whole(rows, steps, StepCounts())
    counts = label_counts(kept, _intent)
    wanted = target_counts(counts, cap=shape.cap, floor=shape.floor, temperature=shape.temperature)
    missing = lacking(counts, wanted)
    if not missing:
        return ShapedTraining(dropped, ())
    gone = {each.where for _, each in dropped}
    small = [record for record in read() if record.intent in missing and record.id not in gone]
    made = [
        record
        for intent, count in missing.items()
        for record in _variants([one for one in small if one.intent == intent], count, seed)
    ]
    return ShapedTraining(dropped, made)


def _row(record: Record) -> _Row:
    """Simulated conversations repeat their templates by design, so only what people wrote is compared."""
    compared = record.source in ("transcript", "journal") and len(record.query) + len(record.response) >= MIN_CHARS
    before = record.context[-1].content if record.context else ""
    text = f"{record.lang} {before} {record.query} {record.response}" if compared else ""
    return _Row(record.id, record.intent, text)


def _id(row: _Row) -> str:
    return row.id


def _intent(row: _Row) -> str | None:
    return row.intent


def _near_twins(rows: Sequence[_Row]) -> list[int | None]:
    places = [place for place, row in enumerate(rows) if row.text]
    twins: list[int | None] = [None] * len(rows)
    for place, twin in zip(places, near_duplicates([rows[place].text for place in places]), strict=True):
        twins[place] = None if twin is None else places[twin]
    return twins


def _variants(records: Sequence[Record], count: int, seed: int) -> Iterator[Record]:
    """`count` other ways to ask these questions, each question in turn; fewer where their words allow no more."""
    ways = [question_variants(record.query, record.lang, MAX_VARIANTS, seed=seed) for record in records]
    made = 0
    for turn in range(MAX_VARIANTS):
        for record, found in zip(records, ways, strict=True):
            if made < count and turn < len(found):
                made += 1
                yield record.model_copy(
                    update={"id": f"{record.id}~{turn + 1}", "query": found[turn], "source": "simulated"}
                )
