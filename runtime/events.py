"""What the server streams while it answers: one JSON object a line (NDJSON), told apart by its `event` key.

    stored      the customer's message is on disk; conversation and turn name it from here on
    understood  what it is about, how its writer feels, and which rule it meets
    found       the sections the answer may rest on, best first
    queued      how many requests are answered before this one; may repeat with a smaller figure
    reading     how much of the prompt the model has read; repeats until the first token
    token       the next piece of the answer, always whole characters
    done        the whole answer with what it cites, and what it took
    error       what went wrong; nothing follows

A stream ends with `done` or `error`; one that ends without either was cut. Knows nothing of how events are carried.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from runtime import errors
from runtime.base.validation import first_problem
from runtime.text.articles import Section
from runtime.text.records import Turn

_LINE_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def escape_line_breaks(text: str) -> str:
    """JSON without the characters at which readers of lines cut though JSON does not escape them.

    They stand inside strings only, so their escapes mean the same to every JSON parser.
    """
    return text.translate(_LINE_BREAKS)


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    def line(self) -> bytes:
        """The event as one line of NDJSON."""
        return escape_line_breaks(self.model_dump_json()).encode() + b"\n"


class Citation(BaseModel):
    """A section as it is shown; `article#section` is its reference, `score` what the search ranked it by."""

    model_config = ConfigDict(frozen=True)

    article: str
    section: str
    title: str
    heading: str
    text: str
    lang: str
    audience: Literal["public", "internal"] = "public"
    score: float = 0.0

    @classmethod
    def of(cls, section: Section, score: float = 0.0) -> Citation:
        """A section with the score it was found by."""
        return cls(
            article=section.article,
            section=section.anchor,
            title=section.title,
            heading=section.heading,
            text=section.text,
            lang=section.lang,
            audience=section.audience,
            score=round(score, 4),
        )


class Stored(_Event):
    """The customer's message is stored; nothing has been computed yet."""

    event: Literal["stored"] = "stored"
    conversation: str
    turn: int
    """Counted from 1 within the conversation."""
    lang: str = ""
    """The language it is answered in."""


Confidence = Literal["high", "medium", "low"]


class Understood(_Event):
    """What the policy's phrases and the bundle's heads make of the question; None where neither says anything."""

    event: Literal["understood"] = "understood"
    intent: str | None = None
    intent_confidence: Confidence | None = None
    emotion: str | None = None
    emotion_confidence: Confidence | None = None
    unfamiliar: bool = False
    """Whether the intent classifier knows no questions like this one."""
    rule: str | None = None
    """The hand-off rule with a phrase in the question."""
    reasons: tuple[str, ...] = ()
    """Where these come from: `hand_off.NAME`, `tone.NAME`, `intent NAME .93`, `emotion NAME .71`,
    `unfamiliar .004` (the share of questions of known kinds that were less familiar)."""


class Queued(_Event):
    """Requests before this one, the running one included."""

    event: Literal["queued"] = "queued"
    position: int
    wait_s: float = 0.0
    """Predicted seconds until its turn; 0 when it has come, or before anything was answered."""


class Reading(_Event):
    """How much of its prompt the model has read."""

    event: Literal["reading"] = "reading"
    done: int
    """Tokens, those that were in memory included."""
    total: int


class SectionsFound(_Event):
    """What was retrieved, best first."""

    event: Literal["found"] = "found"
    citations: tuple[Citation, ...]


class Token(_Event):
    """The next piece of the answer."""

    event: Literal["token"] = "token"
    text: str


class Done(_Event):
    """The finished turn."""

    event: Literal["done"] = "done"
    answer: str
    citations: tuple[Citation, ...]
    ttft_s: float
    """Seconds from the question's arrival to the first piece of the answer."""
    tokens_per_s: float
    """Writing speed after the first token; 0 where no model wrote."""
    model: str
    handoff: str | None = None
    """Why a person should take over: a rule's name, or `no_article`."""
    unsupported: tuple[str, ...] = ()
    """Figures, promises (the sentence), names and addresses that no section shown to the model nor the question has."""
    disputed: tuple[str, ...] = ()
    """`article#section` of articles that give other figures than those found for the same."""
    special_case: str = ""
    """The title of the section found, where it is about a case that the question does not name."""
    answerable: float | None = None
    """The share of answerable questions that look less answerable than this one; None where nobody knows."""
    decided: str = ""
    """What made it: `model`, `extract` (the articles' own, in place of a weak answer), `section` (quoted), `rule:NAME`,
    `fixed:ID`, or a hand-off's reason."""
    intent: str | None = None
    emotion: str | None = None
    """As `understood` said."""
    finish: Literal["stop", "length"] = "stop"
    """`length` when the answer was cut at the most tokens it may have."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Of these, already in memory."""
    answer_tokens: int = 0
    layout: str = ""
    """How the prompt was put together: `exact`, `parallel`, `sequential`; empty where no model wrote."""


class Failed(_Event):
    """The turn failed; the same four things every error says."""

    event: Literal["error"] = "error"
    error: str
    what: str
    where: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: errors.EdgedeskError) -> Failed:
        """An error as an event."""
        return cls(error=type(error).__name__, what=error.what, where=error.where, hint=error.hint)

    def exception(self) -> errors.EdgedeskError:
        """The error this event was made from, for a client to raise."""
        return errors.from_dict(self.model_dump())


Event = Annotated[
    Stored | Understood | Queued | SectionsFound | Reading | Token | Done | Failed, Field(discriminator="event")
]
_adapter: TypeAdapter[Event] = TypeAdapter(Event)


Audience = Literal["public", "internal"]
"""Whom an answer is for: anybody, or the company's own staff."""


class AskRequest(BaseModel):
    """The body of `POST /v1/ask`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1)
    asking: str | None = Field(default=None, min_length=1)
    """The lines of `question` that ask, where others stand on a receipt: rules, classifiers and search look at them.

    All of `question` is stored, checked for orders to the model and shown to it."""
    conversation: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w-]+$")
    """Goes on with an earlier conversation; without it a new one begins."""
    lang: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    """The question's language; told from its script when absent."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    max_tokens: int | None = Field(default=None, ge=1)
    """At most so many tokens; never more than the bundle allows."""
    stop: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(default=(), max_length=4)
    """The answer ends before the first of these."""
    context: tuple[Turn, ...] = Field(default=(), max_length=64)
    """Earlier turns, oldest first, of a client that keeps the conversation itself; else the journal's are used.

    The desk cuts each to `question_chars`, the bound of the question."""
    audience: Audience | None = None
    """`public`: articles for staff take no part in the answer. None leaves it to the door the request comes in by: the
    server takes `public` for programs that reach it over TCP, and lets no role ask for more than it may read."""

    @model_validator(mode="after")
    def _asks_what_it_says(self) -> AskRequest:
        said = {line.strip() for line in self.question.splitlines()} | {""}
        if self.asking and any(line.strip() not in said for line in self.asking.splitlines()):
            raise ValueError("every line of asking must be a line of question")
        return self

    @property
    def words(self) -> str:
        """What is asked, without what was read from a picture beside it."""
        return self.asking or self.question


def make_request(**fields: Any) -> AskRequest:
    """A request from a caller's own values; `InputError` names the one that does not fit."""
    try:
        return AskRequest(**fields)
    except ValidationError as error:
        problem = first_problem(error, "field", AskRequest)
        raise errors.InputError(problem.sentence, hint=problem.hint or "ask a question in a few words") from None


def parse_event(line: str | bytes) -> Event:
    """One line of a stream; `UnavailableError` when it is no event of ours (another program, another version)."""
    try:
        return _adapter.validate_json(line)
    except ValidationError:
        raise errors.UnavailableError(
            "the server sent something that is not an event",
            hint="client and server may be of different versions: restart the server",
        ) from None
