"""Questions that customers asked before, with what answered them: `asked.jsonl` of a bundle.

Customers do not write as articles do; a question finds its section through an earlier question far more often than
through the article's own words, and what was replied then tells which of its sentences answers. Promises: taken from
training records only, so held-out questions stay unseen; no section has more than its share. Knows nothing of how they
are searched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runtime.base.jsonl import read_rows
from runtime.text.records import Record

ASKED_FILE = "asked.jsonl"
MAX_PER_SECTION = 24
"""A section that was asked about a thousand times must not drown one that was asked about twice."""


class PastQuestion(BaseModel):
    """One earlier question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(min_length=1)
    lang: str = Field(pattern=r"^[a-z]{2}$")
    evidence: tuple[str, ...] = Field(min_length=1)
    """`article#section` references that answered it."""
    reply: str = ""
    """What was answered; empty in bundles that do not carry it."""


def select_past_questions(records: Iterable[Record], *, most: int = MAX_PER_SECTION) -> list[PastQuestion]:
    """First questions of training conversations that have evidence, each text once, at most `most` a section.

    A later turn is left out: "and how long for that?" says nothing without what came before.
    """
    seen: set[tuple[str, str]] = set()
    counts: Counter[tuple[str, str]] = Counter()
    out = []
    for record in records:
        key = (record.lang, " ".join(record.query.casefold().split()))
        if record.split != "train" or record.context or not record.evidence or key in seen:
            continue
        sections = [(record.lang, ref) for ref in record.evidence]
        if all(counts[section] >= most for section in sections):
            continue
        seen.add(key)
        counts.update(sections)
        out.append(PastQuestion(text=record.query, lang=record.lang, evidence=record.evidence, reply=record.response))
    return out


def read_past_questions(bundle: Path) -> list[PastQuestion]:
    """A bundle's earlier questions; [] when it carries none."""
    path = bundle / ASKED_FILE
    return list(read_rows(PastQuestion, path)) if path.is_file() else []
