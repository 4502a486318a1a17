"""The record: one shape for all text data, from transcript to training pair to journal export.

Promises: a row that does not fit is refused with file and line, never dropped in silence; a file is written whole or
not at all. Knows nothing of where text comes from.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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
