"""What the server answers, as typed models: the shapes that docs/reference/api.md describes, read by the console.

Promises: a field that an older server leaves out has a default, and one that a newer server adds is ignored, so a
console and a server of neighbouring generations understand each other. Knows nothing of sockets.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.errors import UnavailableError
from runtime.events import Citation
from runtime.journal.turn_details import TurnDetails


class _Answer(BaseModel):
    # Validators are built at the first answer: building all of them at import cost a console's start 40 ms.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    @classmethod
    def parse(cls, data: Any) -> Self:
        """An answer from JSON data; `UnavailableError` where its shape is not ours (another version of the server)."""
        try:
            return cls.model_validate(data)
        except ValidationError:
            raise UnavailableError(
                "the server's answer has an unknown form",
                hint="console and server may be of different versions: restart the server",
            ) from None


class AheadFigures(_Answer):
    """`ahead` of `GET /v1/status`: what was written before questions came, and what it cost."""

    drafts: int = 0
    used: int = 0
    tokens_written: int = 0
    tokens_wasted: int = 0
    processor_s: float = 0.0


class ServerStatus(_Answer):
    """`GET /v1/status`."""

    state: str = "starting"
    """`starting`, `ready` or `stopping`."""
    bundle: str | None = None
    version: str | None = None
    model: str | None = None
    engine: str | None = None
    """`ready`, or `restarting` while the model's process is started again."""
    waiting: int | None = None
    """Turns that wait to leave the branch."""
    ahead: AheadFigures = AheadFigures()


class TypingState(_Answer):
    """`POST /v1/typing`: how far the message that is being typed is read ahead."""

    conversation: str | None = None
    state: str
    """`reading`, `ready`, `off` or `nothing`."""
    tokens: int = 0
    written: int = 0
    """Tokens of the draft."""


class ArticlePage(_Answer):
    """`GET /v1/articles/{id}`: an article with all its sections."""

    article: str
    title: str = ""
    lang: str = ""
    audience: Literal["public", "internal"] = "public"
    topic: str | None = None
    sections: tuple[Citation, ...] = ()


class ConversationState(_Answer):
    """How a conversation stands; neither the model nor the customer learns any of it."""

    status: str = "open"
    """`open`, `snoozed` or `closed`."""
    snooze_until: str | None = None
    """ISO 8601, UTC; with the status `snoozed`."""
    assignee: str | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""
    summary: str = ""
    satisfaction: int | None = None
    """The customer's rating, 1 to 5."""


class ConversationRow(ConversationState):
    """One row of `GET /v1/conversations`: a conversation with its newest turn."""

    conversation: str
    asked: str = ""
    """When the newest message came: ISO 8601, UTC."""
    question: str = ""
    lang: str = ""
    turns: int = 0
    state: str = ""
    """Of the newest turn: `open`, `complete`, `failed`, `cancelled` or `partial`."""
    handoff: str | None = None
    """The reason of a hand-off that is not closed yet."""
    waiting: bool = True
    """Whether the newest message has no answer yet."""


class TurnFeedback(_Answer):
    """What became of a draft."""

    verdict: Literal["accepted", "edited", "rejected"] | None = None
    reply: str | None = None
    reason: str | None = None
    rating: int | None = None
    seconds: float | None = None


class TurnLabel(_Answer):
    """An agent's correction of a turn's intent and emotion."""

    intent: str | None = None
    emotion: str | None = None


class ConversationTurn(_Answer):
    """One turn of `GET /v1/conversations/{id}`."""

    turn: int
    """Counted from 1 within the conversation."""
    asked: str = ""
    ended: str | None = None
    lang: str = ""
    question: str
    draft: str = ""
    reply: str | None = None
    """What was sent to the customer; None while nothing was."""
    retired: bool = False
    """Whether the draft may no longer be sent."""
    state: str
    handoff: str | None = None
    model: str = ""
    intent: str | None = None
    """As the agent corrected it, else as the classifier guessed."""
    emotion: str | None = None
    label: TurnLabel | None = None
    details: TurnDetails = TurnDetails()
    feedback: TurnFeedback | None = None


class Conversation(ConversationState):
    """`GET /v1/conversations/{id}`: how it stands, and its turns, oldest first."""

    conversation: str
    turns: tuple[ConversationTurn, ...] = ()


class PastTurn(_Answer):
    """A turn that `GET /v1/conversations/search` found."""

    conversation: str
    turn: int
    asked: str = ""
    question: str = ""
    draft: str = ""
    reply: str | None = None


class HandoffRow(_Answer):
    """A hand-off of `GET /v1/handoffs`."""

    conversation: str
    turn: int
    reason: str = ""
    opened: str = ""
    """ISO 8601, UTC."""
    state: str = "open"
    """`open`, `taken` or `closed`."""
    agent: str | None = None


class TriedAnswer(_Answer):
    """An answer that the customer was given, or a draft that was rejected."""

    turn: int
    question: str = ""
    answer: str = ""
    citations: tuple[str, ...] = ()
    verdict: str | None = None


class CardPage(_Answer):
    """A hand-off's card: what the next agent must know."""

    state: str = ""
    agent: str | None = None
    reason: str = ""
    summary: str = ""
    open_questions: tuple[str, ...] = ()
    tried: tuple[TriedAnswer, ...] = ()
    entities: dict[str, str] = {}
    language: str = ""
    intent: str | None = None
    emotion: str | None = None


class ExplainedLabel(_Answer):
    """An intent or emotion with what is known of its certainty."""

    name: str | None = None
    confidence: str | None = None
    corrected: bool = False


class ExplainedSection(_Answer):
    """A section that the search found for a draft."""

    ref: str
    score: float = 0.0
    shown: bool = False
    cited: bool = False
    title: str | None = None
    heading: str | None = None
    audience: str | None = None


class ExplainedCitation(_Answer):
    """A cited section, and the sentences of it that support the draft."""

    ref: str
    sentences: tuple[str, ...] = ()


class ExplainedTimes(_Answer):
    """Where the time of a draft went, in seconds."""

    queued_s: float | None = None
    ttft_s: float | None = None
    took_s: float | None = None
    tokens_per_s: float | None = None


class Explanation(_Answer):
    """`GET …/turns/{n}/why`: how a draft came about."""

    decided: str = ""
    intent: ExplainedLabel = ExplainedLabel()
    emotion: ExplainedLabel = ExplainedLabel()
    unfamiliar: bool = False
    answerable: float | None = None
    reasons: tuple[str, ...] = ()
    query: str = ""
    sections: tuple[ExplainedSection, ...] = ()
    cited: tuple[ExplainedCitation, ...] = ()
    unsupported: tuple[str, ...] = ()
    layout: str = ""
    layout_reason: str = ""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    computed_tokens: int = 0
    answer_tokens: int = 0
    model: str = ""
    times: ExplainedTimes = ExplainedTimes()


class LabelNames(_Answer):
    """`GET /v1/labels`: the names that a correction may use."""

    intents: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()


class CannedReply(_Answer):
    """A ready-made reply of the company's policy."""

    id: str
    title: str
    text: str


class UnsentText(_Answer):
    """What is typed in a conversation and not sent; `revision` 0 = nothing was ever typed."""

    text: str = ""
    revision: int = 0


class ReceiptCorrection(_Answer):
    """A correction of this branch, and whether the model in use answers it right."""

    conversation: str
    turn: int
    question: str
    reply: str = ""
    passes: bool = False


class ReceiptAnswer(_Answer):
    """`GET /v1/receipt`."""

    release: str = ""
    corrections: int = 0
    passed: int = 0
    own: tuple[ReceiptCorrection, ...] = ()


OutgoingRow = dict[str, Any]
"""A row of `GET /v1/outbox`, untouched: the privacy view shows each field exactly as it would leave."""
