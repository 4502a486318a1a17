"""A conversation as it was written, before redaction, pairing and splitting."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from distill.data.authors import AUTHORS, plain_name
from runtime.text.languages import language_code
from runtime.text.personal_data import Kind
from runtime.text.records import Emotion, Source


def _role(value: object) -> object:
    """The side that common names of authors mean; what is not understood stays, to be refused by the field."""
    return AUTHORS.get(plain_name(value), value) if isinstance(value, str) else value


def _language(value: object) -> object:
    return language_code(value) if isinstance(value, str) else value


class RawTurn(BaseModel):
    """One message as it was written, with the labels it came with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Annotated[Literal["user", "assistant"], BeforeValidator(_role)]
    content: str = Field(pattern=r"\S")
    intent: str | None = None
    emotion: Emotion | None = None
    evidence: tuple[str, ...] | None = None
    """None = not looked up; () = looked up, and no article answers it."""
    entities: dict[str, str] = Field(default_factory=dict)
    known: tuple[str, ...] = ()
    """What the agent had looked up when writing this: order status and the like, one short line each."""


class RawConversation(BaseModel):
    """One conversation, oldest message first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversation: str = Field(min_length=1)
    lang: Annotated[str, BeforeValidator(_language)] = Field(default="", pattern=r"^([a-z]{2})?$")
    """Empty = decided by the script of its text."""
    turns: tuple[RawTurn, ...] = Field(min_length=1)
    source: Source = "transcript"
    personal: tuple[tuple[Kind, str], ...] = ()
    """Personal values known from the customer's data, to be redacted wherever they come up."""
    where: str = ""
    """`file:line` it was read from."""
    time: float | None = None
    """When it began, in seconds since 1970, where its messages say so."""
    only_last: bool = False
    """Whether only the last reply becomes a record, because the turns before it are its context and no more."""
