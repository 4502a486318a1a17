"""Questions with a label and no reply: nothing to learn writing from, but the classifiers learn from them.

Knows nothing of how they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runtime.base.jsonl import read_rows
from runtime.text.records import Emotion, Split

LABELLED_FILE = "labelled.jsonl"


class LabelledQuestion(BaseModel):
    """A customer's message, redacted, with what somebody said it is about or how it sounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    lang: str = Field(pattern=r"^[a-z]{2}$")
    query: str = Field(min_length=1)
    intent: str | None = None
    emotion: Emotion | None = None
    split: Split


def read_labelled(records: Path, split: Split) -> Iterator[LabelledQuestion]:
    """Those of one split in a folder of records; none where the folder has no such file."""
    path = records / LABELLED_FILE
    if path.is_file() and path.stat().st_size:
        yield from (row for row in read_rows(LabelledQuestion, path) if row.split == split)
