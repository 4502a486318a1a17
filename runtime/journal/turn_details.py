"""What the journal keeps of a turn besides its texts: how the draft came about, and what it took.

The desk writes it, the API sends it as it is, and the console, the outbox and the A/B test read it; so the names of
its fields are stored in journals and must not change without a migration. Promises: a row that cannot be read costs
its details, never the turn. Knows nothing of databases.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.events import Confidence

Arm = Literal["current", "candidate"]
"""The side of an A/B test a conversation is on."""


DISPUTED = "articles_disagree"
"""The reason of a hand-off when another article gives other figures than the section found."""
NO_ARTICLE = "no_article"
"""The reason of a hand-off when nothing was found; the model's own refusal has it too."""
AGENT_REASON = "other"
"""What stands for an agent's own words for a hand-off once they are redacted or leave the branch."""


class FoundSection(BaseModel):
    """A section that the search found, in the order of the search."""

    model_config = ConfigDict(frozen=True)

    ref: str
    """`article#section`."""
    score: float = 0.0
    """What the search ranked it by."""
    similarity: float = 0.0
    """Cosine of the question and the section's nearest part."""
    shown: bool = False
    """Whether the model read it."""


class TurnDetails(BaseModel):
    """The account of one turn; a field is empty where that step was not reached."""

    # Unknown fields are dropped, so that a journal can be read by the generation before the one that wrote it.
    model_config = ConfigDict(frozen=True, extra="ignore")

    experiment: str = ""
    """The A/B test the conversation took part in."""
    arm: Arm | None = None

    intent: str | None = None
    """As the classifier guessed; a person's correction is the turn's `label`."""
    intent_confidence: Confidence | None = None
    unfamiliar: bool = False
    """Whether the intent classifier knew no questions like it."""
    emotion: str | None = None
    emotion_confidence: Confidence | None = None
    rule: str | None = None
    """The hand-off rule that the question met."""
    reasons: tuple[str, ...] = ()
    """As in `runtime.events.Understood`."""

    answerable: float | None = None
    """The share of answerable questions that look less answerable than this one; None where nobody knows."""
    query: str = ""
    """What was searched for: the question, or a follow-up with what it refers to."""
    entities: dict[str, str] = {}
    """Order numbers, products and the like that the conversation named: kind -> value."""
    found: tuple[FoundSection, ...] = ()

    decided: str = ""
    """What made the answer, as in `runtime.events.Done`; `agent` for a message that needed no draft."""
    citations: tuple[str, ...] = ()
    """`article#section` of each source."""
    disputed: tuple[str, ...] = ()
    """`article#section` of articles that give other figures than those found for the same."""
    special_case: str = ""
    """The section found is about a case that the question does not name: its title."""
    unsupported: tuple[str, ...] = ()
    """Claims of the draft that neither a section nor the question has."""

    layout: str = ""
    """How the prompt was put together; empty where no model wrote."""
    layout_reason: str = ""
    """Why it was not the bundle's own layout."""
    finish: str = ""
    """`stop`, `length` or `cancel`, as the engine says."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Of the prompt's tokens, those already in memory or compiled."""
    answer_tokens: int = 0

    queued_s: float | None = None
    """Seconds in the engine's queue."""
    ttft_s: float | None = None
    """Seconds from the question's arrival to the first piece of the answer."""
    took_s: float | None = None
    """Seconds from the question's arrival to the end of the turn."""
    tokens_per_s: float | None = None

    error: str = ""
    """Why the turn failed."""

    def explains(self, reason: str) -> bool:
        """Whether the desk gave this reason for a hand-off; else an agent wrote it, and it may name a customer."""
        return self.decided in (reason, f"rule:{reason}") or reason == NO_ARTICLE

    def to_json(self) -> str:
        """The form in which it is stored: fields that say nothing are left out."""
        return self.model_dump_json(exclude_defaults=True)

    @classmethod
    def from_json(cls, text: str) -> TurnDetails:
        """Read the stored form; unreadable text becomes details that say so (`error`)."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            # SQLite has no checksums: one flipped letter in this column must not hide the conversation.
            return cls(error="the stored details of this turn cannot be read")
