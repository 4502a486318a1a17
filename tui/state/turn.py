"""One message of a customer, the draft it brought, and what the agent made of it.

Promises: pure; a figure the server gave wins over one the console took itself. A draft is `offered` only while nothing
newer was said: a newer message and a sent reply retire it. Knows nothing of other turns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from runtime import events
from runtime.client.answers import ConversationTurn, TurnFeedback, TurnLabel
from runtime.events import Citation

CALM = "calm"
"""The emotion of a question without any sign of one: shown as none noticed, unless an agent said so."""


class Phase(StrEnum):
    """Where a turn is."""

    SENDING = "sending"
    QUEUED = "queued"
    READING = "reading"
    WRITING = "writing"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Labels:
    """What the customer wants and how they feel, each with `high`, `medium` or `low`; empty where nobody knows."""

    intent: str = ""
    intent_confidence: str = ""
    emotion: str = ""
    emotion_confidence: str = ""
    corrected: bool = False
    """Whether an agent said so."""
    unfamiliar: bool = False
    """Whether the question is unlike all that customers of this company asked before."""


@dataclass(frozen=True)
class ConsoleTurn:
    """One message and its draft."""

    number: int
    """Counted through the console's life; `stored` is the journal's number."""
    question: str
    asked_at: float
    phase: Phase = Phase.SENDING
    stored: int = 0
    """Its number in the conversation; 0 until the server has it on disk."""
    lang: str = ""
    asked: str = ""
    """When, ISO 8601 UTC, where it came from the journal."""
    position: int = 0
    """Questions before this one in the queue."""
    predicted_s: float = 0.0
    """How long the server thinks it waits there."""
    read: tuple[int, int] = (0, 0)
    """Prompt tokens read, of how many."""
    draft: str = ""
    citations: tuple[Citation, ...] = ()
    labels: Labels = Labels()
    tokens: int = 0
    first_at: float | None = None
    last_at: float | None = None
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    model: str = ""
    decided: str = ""
    layout: str = ""
    handoff: str = ""
    """Why a person must answer; empty = no hand-off."""
    handoff_state: str = ""
    unsupported: tuple[str, ...] = ()
    """What the draft claims that neither a section nor the question holds."""
    disputed: tuple[str, ...] = ()
    """Sections that give other figures than those found for the same."""
    special_case: str = ""
    """The title of the section found, where it is about a case that the customer did not name."""
    answerable: float | None = None
    """The share of answerable questions that look less answerable than this one; None where nobody knows."""
    problem: str = ""
    hint: str = ""
    verdict: str = ""
    """`accepted`, `edited`, `rejected`; `replied` where the draft was no use; empty until the agent decides."""
    reply: str = ""
    reason: str = ""
    edited: str = ""
    """The reply while the agent still writes it."""
    saved: bool = True
    """Whether the server has the verdict."""
    retired: str = ""
    """Why the draft is offered no longer: `newer`, `sent`, `elsewhere`; empty = it is, or never was whole."""
    decided_s: float | None = None
    """Seconds from the draft to the verdict."""
    entities: dict[str, str] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether the server still works on it."""
        return self.phase in (Phase.SENDING, Phase.QUEUED, Phase.READING, Phase.WRITING)

    @property
    def offered(self) -> bool:
        """Whether the draft can be accepted."""
        return self.phase is Phase.DONE and bool(self.draft.strip()) and not self.verdict and not self.retired

    @property
    def wait_s(self) -> float | None:
        """Seconds to the first token: the server's figure once it is known, before that the console's own."""
        if self.ttft_s is not None:
            return self.ttft_s
        return None if self.first_at is None else self.first_at - self.asked_at

    @property
    def speed(self) -> float | None:
        """Tokens a second: the server's figure once it is known, before that the console's own.

        None where nothing was measured, as when no model wrote.
        """
        if self.tokens_per_s is not None:
            return self.tokens_per_s or None
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at:
            return None
        return (self.tokens - 1) / (self.last_at - self.first_at)


def hear(turn: ConsoleTurn, event: events.Event, at: float) -> ConsoleTurn:
    """The turn after an event of its answer; `Failed` is the thread's affair, since it gives the text back."""
    match event:
        case events.Stored():
            return replace(turn, stored=event.turn, lang=event.lang)
        case events.Understood():
            labels = Labels(
                event.intent or "",
                event.intent_confidence or "",
                event.emotion or "",
                event.emotion_confidence or "",
                unfamiliar=event.unfamiliar,
            )
            return replace(turn, labels=labels)
        case events.Queued():
            return replace(turn, phase=Phase.QUEUED, position=event.position, predicted_s=event.wait_s)
        case events.Reading():
            return replace(turn, phase=Phase.READING, read=(event.done, event.total))
        case events.SectionsFound():
            return replace(turn, phase=Phase.READING, citations=event.citations)
        case events.Token():
            first = at if turn.first_at is None else turn.first_at
            draft = turn.draft + event.text
            return replace(turn, phase=Phase.WRITING, draft=draft, tokens=turn.tokens + 1, first_at=first, last_at=at)
        case events.Done():
            return finish(turn, event)
    return turn


def finish(turn: ConsoleTurn, event: events.Done) -> ConsoleTurn:
    """The whole answer, as the server checked it."""
    return replace(
        turn,
        phase=Phase.DONE,
        draft=event.answer,
        citations=event.citations or turn.citations,
        ttft_s=event.ttft_s,
        tokens_per_s=event.tokens_per_s,
        model=event.model,
        decided=event.decided,
        layout=event.layout,
        handoff=event.handoff or "",
        handoff_state="open" if event.handoff else "",
        unsupported=event.unsupported,
        disputed=event.disputed,
        special_case=event.special_case,
        answerable=event.answerable,
    )


def decide(turn: ConsoleTurn, verdict: str, reply: str, at: float, reason: str = "") -> ConsoleTurn:
    """The agent's verdict; the draft is offered no longer, and the server does not know yet."""
    since = turn.last_at if turn.last_at is not None else turn.asked_at
    return replace(
        turn,
        verdict=verdict,
        reply=reply,
        reason=reason,
        edited="",
        retired="sent",
        saved=False,
        decided_s=round(max(0.0, at - since), 1),
    )


def retire(turn: ConsoleTurn, why: str) -> ConsoleTurn:
    """Offer the draft no longer; one still being written ends where it is."""
    if turn.busy:
        return replace(turn, phase=Phase.CANCELLED, retired=why)
    return replace(turn, retired=why) if turn.offered else turn


def stored_turn(number: int, row: ConversationTurn) -> ConsoleTurn:
    """A turn as `GET /v1/conversations/{id}` has it."""
    details, feedback = row.details, row.feedback or TurnFeedback()
    verdict = feedback.verdict or ("replied" if feedback.reply else "")
    # A rejected draft's reply is the right answer, which no customer got: it is shown, and is not what was sent.
    reply = (feedback.reply or "") if verdict == "rejected" else (row.reply or "")
    phase = {"complete": Phase.DONE, "failed": Phase.FAILED, "open": Phase.WRITING}.get(row.state, Phase.CANCELLED)
    return ConsoleTurn(
        number=number,
        question=row.question,
        asked_at=0.0,
        phase=phase,
        stored=row.turn,
        lang=row.lang,
        asked=row.asked,
        draft=row.draft,
        citations=tuple(_reference(one, row.lang) for one in details.citations),
        labels=read_labels(row),
        ttft_s=details.ttft_s,
        tokens_per_s=details.tokens_per_s,
        model=row.model,
        decided=details.decided,
        layout=details.layout,
        handoff=row.handoff or "",
        handoff_state="open" if row.handoff else "",
        unsupported=details.unsupported,
        disputed=details.disputed,
        special_case=details.special_case,
        answerable=details.answerable,
        verdict=verdict,
        reply=reply,
        reason=feedback.reason or "",
        retired="sent" if verdict else "",
        entities=details.entities,
    )


def read_labels(row: ConversationTurn) -> Labels:
    """Intent and emotion of a turn as the server has it; what an agent corrected has no confidence."""
    details, corrected = row.details, row.label or TurnLabel()
    return Labels(
        intent=row.intent or details.intent or "",
        intent_confidence="" if corrected.intent else details.intent_confidence or "",
        emotion=row.emotion or details.emotion or "",
        emotion_confidence="" if corrected.emotion else details.emotion_confidence or "",
        corrected=bool(corrected.intent or corrected.emotion),
        unfamiliar=details.unfamiliar,
    )


def _reference(reference: str, lang: str) -> Citation:
    """A source of which only the name is kept; its text is fetched when somebody opens it."""
    article, _, section = reference.partition("#")
    return Citation(article=article, section=section, title=article, heading=section, text="", lang=lang)
