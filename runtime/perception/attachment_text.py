"""What was read from a picture or heard in a recording: its lines in order, and the entities offered to the person.

Promises: no control character is in it; it is bounded in lines and characters, and says so where it was cut; the person
sees it before it is used. `with_question` is the one way in which it becomes part of a customer's message. Pure.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.base.terminal import printable
from runtime.perception.attachment import AttachmentKind

MAX_LINES = 400
MAX_LINE_CHARS = 400
MAX_CHARS = 3000
"""Some three receipts. A message may be 4,000 characters long, and the words that ask must fit in too."""
SHORT_CHARS = 60
"""Of a picture that a question takes along into a search."""


class _Value(BaseModel):
    # Built at first use: a console that starts has no attachment yet.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Box(_Value):
    """Where a line stands: pixels from the top left corner of its page, as it is looked at upright."""

    page: int = 1
    left: int
    top: int
    right: int
    bottom: int


class Interval(_Value):
    """When a line was spoken, in seconds from the beginning."""

    start_s: float
    end_s: float


class TextLine(_Value):
    """A line of a picture, or a sentence of a recording."""

    text: str
    confidence: float = Field(default=1.0, ge=0, le=1)
    box: Box | None = None
    interval: Interval | None = None


EntityKind = Literal["order_number", "model_code", "serial_number", "date", "total"]


class OfferedEntity(_Value):
    """Something in the text that a desk looks things up by; offered, never acted on."""

    kind: EntityKind
    value: str
    line: int
    """The index of its line."""


class AttachmentText(_Value):
    """All that is kept of an attachment once it has been read."""

    kind: AttachmentKind
    lines: tuple[TextLine, ...]
    entities: tuple[OfferedEntity, ...] = ()
    seconds: float = 0.0
    """What reading it took."""
    duration_s: float | None = None
    """How long a recording is."""
    pages: int = 1
    cut: bool = False
    """Whether there was more than may be kept."""

    @property
    def text(self) -> str:
        """The lines, one below the other; what is spoken has no lines, and runs on."""
        return ("\n" if self.kind == "picture" else " ").join(line.text for line in self.lines)


def bounded_lines(lines: list[TextLine]) -> tuple[tuple[TextLine, ...], bool]:
    """The lines without control characters and empty ones, up to the bounds; and whether that cut any."""
    kept: list[TextLine] = []
    left = MAX_CHARS
    for line in lines:
        text = " ".join(printable(line.text).split())
        if not text:
            continue
        if len(kept) == MAX_LINES or left <= 0:
            return tuple(kept), True
        shown = text[: min(MAX_LINE_CHARS, left)]
        kept.append(line.model_copy(update={"text": shown}))
        left -= len(shown) + 1
        if len(shown) < len(text):
            return tuple(kept), True
    return tuple(kept), False


def with_question(question: str, *read: AttachmentText) -> str:
    """The customer's message: the words typed, then what was read. Of a recording, what was heard is the question."""
    return "\n\n".join(part for part in (question.strip(), *(one.text for one in read)) if part)


def asking_lines(question: str, *read: AttachmentText) -> str | None:
    """What of `with_question(question, *read)` asks; None where that is all of it.

    The words typed, and beside them what is short enough to be what they are about: an error on a display. A receipt or
    a label, known by its entities, is left out: its goods, address, sums and thanks lead a search astray
    (`benchmarks/receipts.py --home`), and its hotline would meet a hand-off rule. A long text
    without any entity is what the customer has to say, such as a letter.
    """
    words = question.strip()
    if not words or any(len(one.text) > SHORT_CHARS and not one.entities for one in read):
        return None
    short = (one.text for one in read if len(one.text) <= SHORT_CHARS)
    return "\n".join([words, *short])


def asking_part(message: str, read: AttachmentText) -> str | None:
    """`asking_lines` of a message into which the text was put and which a person may have changed since."""
    known = {line.text for line in read.lines}
    said = {line.strip() for line in message.splitlines()}
    asking = asking_lines("\n".join(line for line in message.splitlines() if line.strip() not in known), read)
    return "\n".join(line for line in (asking or "").splitlines() if line.strip() in said) or None
