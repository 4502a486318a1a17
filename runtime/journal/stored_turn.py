"""What the journal holds of a turn, as values: its key, texts and state, and what people said of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runtime.journal.turn_details import TurnDetails

State = Literal["open", "complete", "cancelled", "failed", "partial"]
"""`open` while it is answered; `partial` when the process died before it could say how the turn ended."""
Verdict = Literal["accepted", "edited", "rejected"]
"""What the agent did with a draft."""


PRACTICE = "practice-"
"""How the name of a conversation begins that an agent practises in; the server keeps it for the company's staff."""


def is_practice(conversation: str) -> bool:
    """Whether a conversation is practice, which never leaves the branch."""
    return conversation.startswith(PRACTICE)


@dataclass(frozen=True)
class TurnKey:
    """Names a turn."""

    conversation: str
    number: int
    """Counted from 1 within the conversation."""


@dataclass(frozen=True)
class Label:
    """The intent and emotion a person gave a question, where the classifiers were wrong."""

    intent: str | None = None
    emotion: str | None = None
    agent: str = ""


@dataclass(frozen=True)
class Feedback:
    """What an agent did with a draft, and what they and the customer thought of it."""

    verdict: Verdict | None = None
    reply: str | None = None
    """The text that was sent; for a rejected draft the right answer, which was not sent."""
    reason: str | None = None
    rating: int | None = None
    """The customer's satisfaction, 1 to 5."""
    seconds: float | None = None
    """From the draft to the reply."""
    agent: str = ""
    at: str = field(default="", compare=False)
    """ISO 8601, UTC; given by the journal."""


@dataclass(frozen=True)
class StoredTurn:
    """A turn as the journal keeps it."""

    key: TurnKey
    lang: str
    question: str
    draft: str
    state: State
    handoff: str | None
    model: str
    details: TurnDetails
    asked: str = ""
    """ISO 8601, UTC."""
    ended: str | None = None
    label: Label | None = None
    feedback: Feedback | None = None

    @property
    def rejected(self) -> bool:
        """Whether the agent turned the draft down."""
        return self.feedback is not None and self.feedback.verdict == "rejected"

    @property
    def reply(self) -> str | None:
        """What was sent to the customer; None as long as nothing was. The only place where this is decided."""
        if self.feedback is None or self.rejected:
            return None
        return self.feedback.reply or (self.draft if self.feedback.verdict == "accepted" else None)

    @property
    def reply_or_draft(self) -> str:
        """What the customer was sent, or would be: the reply, else a complete draft that nobody turned down."""
        if self.reply:
            return self.reply
        return self.draft if self.state == "complete" and not self.handoff and not self.rejected else ""

    @property
    def intent(self) -> str | None:
        """What the question is about: a person's label, else the classifier's guess."""
        return (self.label and self.label.intent) or self.details.intent

    @property
    def emotion(self) -> str | None:
        """How its writer feels: a person's label, else the policy's or the classifier's guess."""
        return (self.label and self.label.emotion) or self.details.emotion
