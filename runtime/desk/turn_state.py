"""A turn while it is answered, and what is told and kept of it when it ends.

Pure: the clock comes in with the calls. Knows nothing of engines, journals and sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtime.desk.policy import Policy
from runtime.events import AskRequest, Citation, Done, Understood
from runtime.journal.stored_turn import StoredTurn, TurnKey
from runtime.journal.turn_details import TurnDetails

if TYPE_CHECKING:
    from runtime.desk.fixed_answers import FixedAnswerIndex


@dataclass
class TurnState:
    """A turn while it is answered."""

    key: TurnKey
    request: AskRequest
    lang: str
    policy: Policy
    curated: FixedAnswerIndex
    """The questions of its fixed answers."""
    before: list[StoredTurn]
    """The conversation's earlier turns, oldest first."""
    arrived: float
    draft: str = ""
    first: float | None = None
    """When the answer's first piece was sent."""
    drafted: float = 0.0
    """When the draft was last written to the journal."""
    understood: Understood = field(default_factory=Understood)
    query: str = ""
    """What was searched for; empty when nothing was."""
    found: tuple[dict[str, Any], ...] = ()
    """The sections found: reference, score, similarity, and whether the model was shown them."""
    reading: dict[str, Any] = field(default_factory=dict)
    """The engine's counts, for the journal."""
    speed: float = 0.0
    ended: bool = False
    lead: str = ""
    """What is said before the answer, for the customer's mood."""
    decided: str = ""
    """What made the answer, see `runtime.events.Done`."""


def done(
    work: TurnState,
    answer: str,
    citations: tuple[Citation, ...],
    *,
    model: str,
    handoff: str | None,
    unsupported: tuple[str, ...],
    now: float,
) -> Done:
    """The event that ends the turn."""
    return Done(
        answer=answer,
        citations=citations,
        ttft_s=round((work.first or now) - work.arrived, 3),
        tokens_per_s=round(work.speed, 1),
        model=model,
        handoff=handoff,
        unsupported=unsupported,
        decided=work.decided,
        intent=work.understood.intent,
        emotion=work.understood.emotion,
        finish="length" if work.reading.get("finish") == "length" else "stop",
        prompt_tokens=work.reading.get("prompt_tokens", 0),
        reused_tokens=work.reading.get("reused_tokens", 0),
        answer_tokens=work.reading.get("answer_tokens", 0),
        layout=work.reading.get("layout", ""),
    )


def details(work: TurnState, ended: Done | None, now: float) -> TurnDetails:
    """What the journal keeps of the turn besides its texts."""
    kept: dict[str, Any] = dict(work.reading)
    kept |= work.understood.model_dump(exclude={"event"})
    if work.query:
        kept |= {"query": work.query, "found": work.found}
    kept |= {"took_s": round(now - work.arrived, 3)}
    if ended:
        kept |= {"citations": [f"{one.article}#{one.section}" for one in ended.citations], "decided": ended.decided}
        kept |= {"ttft_s": ended.ttft_s, "tokens_per_s": ended.tokens_per_s, "unsupported": ended.unsupported}
    return TurnDetails.model_validate(kept)
