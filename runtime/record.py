"""The record: one shape for all text data, from transcript to training pair to journal export (DESIGN §2).

Promises: a row that does not fit is refused with file and line, never dropped in silence; a file is written whole or
not at all. Knows nothing of where text comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtime.errors import InputError
from runtime.files import read_lines, write_atomic

Row = TypeVar("Row", bound=BaseModel)
Emotion = Literal["calm", "happy", "confused", "anxious", "frustrated", "angry"]
Source = Literal["transcript", "article", "simulated", "teacher", "journal"]
Split = Literal["train", "valid", "test"]


class Turn(BaseModel):
    """One earlier message of the conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1)


class Record(BaseModel):
    """A customer's question in its conversation, and the reply to learn from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    conversation: str = Field(min_length=1)
    turn: int = Field(ge=0)
    lang: str = Field(pattern=r"^[a-z]{2}$")
    context: tuple[Turn, ...] = ()
    """Earlier turns, oldest first."""
    query: str = Field(min_length=1)
    response: str = Field(min_length=1)
    intent: str | None = None
    emotion: Emotion | None = None
    entities: dict[str, str] = Field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    """`article#section` references the answer rests on; empty = not answerable from the articles."""
    source: Source
    split: Split


def _spellings(fact: object) -> object:
    return (fact,) if isinstance(fact, str) else fact


class Question(BaseModel):
    """A held-out question: its evidence, and the facts a right answer must contain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""
    """Empty in a file: its name and the question's place in it."""
    lang: str = Field(default="", pattern=r"^([a-z]{2})?$")
    """Empty in a file: as the question's script says."""
    question: str = Field(min_length=1)
    article: str | None = None
    evidence: tuple[str, ...] = ()
    facts: tuple[Annotated[tuple[str, ...], BeforeValidator(_spellings)], ...] = ()
    """Each fact is a list of accepted spellings, or one spelling."""
    answerable: bool = True
    intent: str | None = None
    hand_off: bool = False
    """Whether a person must take over, whatever the articles say."""
    reference: str | None = Field(default=None, min_length=1)
    """What a good agent wrote, for the figures that compare wording."""


def read_rows(model: type[Row], path: Path) -> Iterator[Row]:
    """Rows of a JSONL file, one at a time; the first that does not fit raises `InputError` with file and line."""
    for _, row in parse_rows(model, path):
        if isinstance(row, InputError):
            raise row
        yield row


def parse_rows(model: type[Row], path: Path) -> Iterator[tuple[int, Row | InputError]]:
    """Every line's number with its row or the error that refuses it, for callers that count refusals and go on."""
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        try:
            yield number, model.model_validate(json.loads(line))
        except ValidationError as error:
            yield number, InputError(describe(error), where=where, hint=f"a {model.__name__.lower()} needs this column")
        except (ValueError, RecursionError) as error:  # broken JSON, a number of 5,000 digits, 5,000 brackets
            reason = str(error).splitlines()[0][:200]
            yield number, InputError(f"not a JSON object ({reason})", where=where, hint="one JSON object a line")


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write rows as JSONL, whole or not at all; returns how many."""
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for row in rows:
            count += 1
            yield (row.model_dump_json(exclude_none=True) + "\n").encode()

    write_atomic(path, lines())
    return count


def describe(error: ValidationError) -> str:
    """The first thing wrong with a row, in one line, naming the column."""
    first = error.errors()[0]
    column = ".".join(str(part) for part in first["loc"]) or "row"
    message = "is missing" if first["type"] == "missing" else str(first["msg"]).lower()
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"column '{column}' {message}{more}"
