"""What is known of a turn at each point of its way from question to answer.

`TurnState` is immutable: a step of `runtime.desk.turn_steps` returns a new one. `Draft` is the one thing that changes
in place, because an answer that is cancelled half-way must still be written to the journal as far as it came. Pure:
the clock comes in with the calls. Knows nothing of engines, journals and sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runtime.desk.active_policy import ActivePolicy
from runtime.events import AskRequest, Citation, Done, Event, Understood
from runtime.journal.stored_turn import StoredTurn
from runtime.journal.turn_details import TurnDetails

if TYPE_CHECKING:
    from runtime.prompting.prompt_tokens import Prompt
    from runtime.retrieval.retriever import Hit


MAX_ERROR_CHARS = 500
"""Of an error's sentence that the journal keeps: what a library says may quote any text."""


@dataclass(frozen=True)
class Answer:
    """What ends a turn: the text, what it cites, and what made it."""

    text: str
    decided: str
    """See `runtime.events.Done`."""
    citations: tuple[Citation, ...] = ()
    handoff: str | None = None
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True)
class TurnState:
    """A turn between two steps; what a later step fills in is empty until then."""

    request: AskRequest
    lang: str
    before: tuple[StoredTurn, ...]
    """The conversation's earlier turns, oldest first."""
    active: ActivePolicy
    details: TurnDetails = field(default_factory=TurnDetails)
    """What the journal will keep of it."""
    events: tuple[Event, ...] = ()
    """What the steps want sent, oldest first."""

    understood: Understood = field(default_factory=Understood)
    answerable: float | None = None
    """The share of answerable questions that look less answerable; None where nobody knows."""
    lead: str = ""
    """What is said before the answer, for the customer's emotion."""
    query: str = ""
    """What is searched for."""
    hits: tuple[Hit, ...] = ()
    """What was found, as the agent sees it."""
    safe: tuple[Hit, ...] = ()
    """The same as the model reads it and customers are quoted it: without sentences that give orders."""
    prompt: Prompt | None = None
    """What the model is asked; None where it is not."""
    draft: str = ""
    """What the model wrote."""
    answer: Answer | None = None
    """Once it is there, no further step is taken."""

    @property
    def public_only(self) -> bool:
        """Whether articles for staff must not take part in the answer."""
        return self.request.audience == "public"

    def with_details(self, **details: Any) -> TurnState:
        """The state with some fields of `details` changed."""
        return replace(self, details=self.details.model_copy(update=details))


@dataclass
class Draft:
    """The answer as it grows, and when; times in seconds of the desk's clock."""

    arrived: float
    """When the question came."""
    stored: float
    """When the draft was last written to the journal."""
    text: str = ""
    first: float | None = None
    """When the answer's first piece was sent."""
    counts: dict[str, Any] = field(default_factory=dict)
    """Of the engine, by the names of `TurnDetails`; empty where no model wrote."""
    ahead_tokens: int = 0
    """Of its tokens, those that were written before the question came."""


def done_event(state: TurnState, answer: Answer, draft: Draft, *, model: str, now: float) -> Done:
    """The event that ends the turn."""
    counts = draft.counts
    return Done(
        answer=answer.text,
        citations=answer.citations,
        ttft_s=round((draft.first or now) - draft.arrived, 3),
        tokens_per_s=counts.get("tokens_per_s", 0.0),
        model=model,
        handoff=answer.handoff,
        unsupported=answer.unsupported,
        answerable=state.details.answerable,
        disputed=state.details.disputed,
        special_case=state.details.special_case,
        decided=answer.decided,
        intent=state.understood.intent,
        emotion=state.understood.emotion,
        finish="length" if counts.get("finish") == "length" else "stop",
        prompt_tokens=counts.get("prompt_tokens", 0),
        reused_tokens=counts.get("reused_tokens", 0),
        answer_tokens=counts.get("answer_tokens", 0),
        layout=counts.get("layout", ""),
    )


def final_details(state: TurnState, draft: Draft, ended: Done | None, *, now: float, error: str = "") -> TurnDetails:
    """What the journal keeps of the turn besides its texts; `ended` is None where it was cut."""
    update: dict[str, Any] = {**draft.counts, "took_s": round(now - draft.arrived, 3), "error": error[:MAX_ERROR_CHARS]}
    if ended:
        update |= {
            "citations": tuple(f"{one.article}#{one.section}" for one in ended.citations),
            "decided": ended.decided,
            "ttft_s": ended.ttft_s,
            "tokens_per_s": ended.tokens_per_s,
            "unsupported": ended.unsupported,
        }
    return state.details.model_copy(update=update)
