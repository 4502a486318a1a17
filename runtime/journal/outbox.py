"""What may leave the branch: turns with their feedback, personal data replaced by placeholders.

Promises: a text leaves only through `Redactor`; a conversation's name leaves as a keyed hash (`Journal.alias`), an
agent's own words for a hand-off not at all; the same turn at the same revision is always the same row under the same
key, so that a receiver can drop what comes twice. Sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from runtime.journal.journal import Journal, WaitingTurn
from runtime.journal.stored_turn import StoredTurn, TurnKey, Verdict
from runtime.journal.turn_details import AGENT_REASON
from runtime.text.personal_data import NO_RULES, PersonalRules
from runtime.text.redaction import Redactor


class OutboxRow(BaseModel):
    """A turn as it leaves: one row of JSONL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    """Conversation, turn and revision; a receiver keeps one row a key."""
    conversation: str
    turn: int
    revision: int
    asked: str
    lang: str
    question: str
    draft: str
    state: str
    handoff: str | None = None
    model: str = ""
    citations: tuple[str, ...] = ()
    intent: str | None = None
    emotion: str | None = None
    verdict: Verdict | None = None
    reply: str | None = None
    reason: str | None = None
    rating: int | None = None
    seconds: float | None = None


def outbox_rows(
    journal: Journal,
    *,
    public: str,
    limit: int,
    reasons: Collection[str] = (),
    rules: PersonalRules = NO_RULES,
) -> Iterator[tuple[TurnKey, OutboxRow]]:
    """Turns that have yet to leave, oldest first, redacted.

    `public` is what the company publishes itself, `rules` are its policies'; `reasons` are the hand-off reasons of its
    policies: one that an agent gave in other words leaves as `other`.
    """
    clean: dict[str, list[_CleanTurn]] = {}
    for key, revision in journal.waiting(limit):
        if key.conversation not in clean:
            # Once a conversation: a name given in the first turn is known by its placeholder in all later ones.
            clean[key.conversation] = _clean_turns(journal.turns(key.conversation), Redactor(public, rules))
        for turn in clean[key.conversation]:
            if turn.stored.key == key:  # else it was forgotten meanwhile
                yield key, _row(journal.alias(key.conversation), turn, revision, reasons)


def acknowledge(journal: Journal, keys: set[str]) -> int:
    """Turns that have arrived, by the keys they left under; one that changed since keeps waiting. Returns how many."""
    arrived = [one for one in journal.waiting(-1) if _name(journal.alias(one.key.conversation), one) in keys]
    for key, revision in arrived:
        journal.mark_sent(key, revision)
    return len(arrived)


class _CleanTurn(NamedTuple):
    """A turn with its texts redacted."""

    stored: StoredTurn
    question: str
    draft: str
    reply: str | None
    reason: str | None


def _clean_turns(turns: list[StoredTurn], redactor: Redactor) -> list[_CleanTurn]:
    def clean(text: str | None) -> str | None:
        return None if text is None else redactor.redact(text)

    return [
        _CleanTurn(
            turn,
            redactor.redact(turn.question),
            redactor.redact(turn.draft),
            clean(turn.feedback.reply if turn.feedback else None),
            clean(turn.feedback.reason if turn.feedback else None),
        )
        for turn in turns
    ]


def _name(alias: str, waiting: WaitingTurn) -> str:
    return f"{alias}/{waiting.key.number}/{waiting.revision}"


def _row(alias: str, turn: _CleanTurn, revision: int, reasons: Collection[str]) -> OutboxRow:
    stored, feedback = turn.stored, turn.stored.feedback
    handoff = stored.handoff
    if handoff and handoff not in reasons and not stored.details.explains(handoff):
        handoff = AGENT_REASON
    return OutboxRow(
        key=_name(alias, WaitingTurn(stored.key, revision)),
        conversation=alias,
        turn=stored.key.number,
        revision=revision,
        asked=stored.asked,
        lang=stored.lang,
        question=turn.question,
        draft=turn.draft,
        state=stored.state,
        handoff=handoff,
        model=stored.model,
        citations=stored.details.citations,
        intent=stored.intent,
        emotion=stored.emotion,
        verdict=feedback.verdict if feedback else None,
        reply=turn.reply,
        reason=turn.reason,
        rating=feedback.rating if feedback else None,
        seconds=feedback.seconds if feedback else None,
    )
