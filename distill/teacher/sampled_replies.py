"""The teacher's own replies to training questions, kept only when the articles support them.

A student that learns from gold replies alone never sees the teacher's way of saying things. Each question is asked a
few times with the sections of its record's evidence, at a temperature. A reply is kept when every figure in it is in
those sections or in the question, when it refuses exactly where no article answers, and when it is new and complete.
Dropped replies are counted by reason. A kill costs `PART_RECORDS` records at most. Knows nothing of packs and captures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.compute.resumable_parquet import ResumableParquet
from distill.teacher.generators import Generator
from runtime.grounding.citations import source_text, unsupported_quantities
from runtime.grounding.fact_matching import is_refusal
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.articles import Section
from runtime.text.records import Record

PART_RECORDS = 16
"""Records a part of unfinished sampling holds: what a kill costs at most."""


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn."""

    count: int
    """Replies a question is asked for."""
    temperature: float = 0.7
    seed: int = 0


def judge_reply(record: Record, reply: str, shown: Sequence[Section], spec: PromptSpec, seen: set[str]) -> str:
    """`kept`, or why a reply is not: `empty`, `repeated`, `ungrounded`, `refuses`, `does not refuse` (pure)."""
    text = " ".join(reply.split())
    if not text:
        return "empty"
    if text in seen:
        return "repeated"
    refused = is_refusal(reply, spec.refusal.get(record.lang) or next(iter(spec.refusal.values())))
    if refused != (not record.evidence):
        return "refuses" if refused else "does not refuse"
    # What the customer or an earlier reply said may be repeated.
    said = " ".join([record.query, *(turn.content for turn in record.context)])
    return "ungrounded" if unsupported_quantities(reply, [*map(source_text, shown), said]) else "kept"


def sample_replies(
    generator: Generator,
    records: Sequence[Record],
    sections: Callable[[Record], Sequence[Section]],
    spec: PromptSpec,
    sampling: Sampling,
    *,
    parts: ResumableParquet | None = None,
    part_records: int = PART_RECORDS,
    advance: Callable[[int], None] = lambda _count: None,
) -> tuple[list[Record], Mapping[str, int]]:
    """New records with the teacher's replies, and how many replies ended in which verdict.

    `sections(record)` are shown best first. With `parts` what an earlier run finished is taken up,
    `part_records` records a file.
    """
    out: list[Record] = []
    counts: Counter[str] = Counter()
    for start in range(0, len(records), part_records):
        group = records[start : start + part_records]
        path = parts.path(start // part_records) if parts else None
        if path is not None and path.is_file():
            kept, verdicts = _read_part(path)
            advance(len(group))
        else:
            kept, verdicts = _sample_group(generator, group, start, sections, spec, sampling, advance)
            if parts:
                with parts.write(start // part_records) as partial:
                    rows = [record.model_dump(mode="json") for record in kept]
                    partial.write_text(json.dumps({"records": rows, "verdicts": verdicts}, ensure_ascii=False))
        out += kept
        counts.update(verdicts)
    return out, dict(sorted(counts.items()))


def _read_part(path: Path) -> tuple[list[Record], Counter[str]]:
    part = json.loads(path.read_text(encoding="utf-8"))
    return [Record.model_validate(row) for row in part["records"]], Counter(part["verdicts"])


def _sample_group(
    generator: Generator,
    records: Sequence[Record],
    first: int,
    sections: Callable[[Record], Sequence[Section]],
    spec: PromptSpec,
    sampling: Sampling,
    advance: Callable[[int], None],
) -> tuple[list[Record], Counter[str]]:
    """`sample_replies` of a few records; `first` is the number of the first among all, which its seeds depend on."""
    out: list[Record] = []
    counts: Counter[str] = Counter()
    for number, record in enumerate(records, start=first):
        seen = {" ".join(record.response.split())}
        for draw in range(sampling.count):
            seed = sampling.seed + number * sampling.count + draw
            reply = generator.reply(record, sections(record), temperature=sampling.temperature, seed=seed)
            verdict = judge_reply(record, reply.text, reply.shown, spec, seen)
            if verdict == "kept" and not reply.finished:
                verdict = "cut off"
            counts[verdict] += 1
            seen.add(" ".join(reply.text.split()))
            if verdict == "kept":
                update = {"id": f"{record.id}/s{draw}", "response": reply.text, "source": "teacher"}
                out.append(record.model_copy(update=update))
        advance(1)
    return out, counts
