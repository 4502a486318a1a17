"""What may leave the branch: turns with their feedback, personal data replaced by placeholders.

Promises: a text leaves only through `Redactor`; a conversation's name leaves as a hash of it; the same turn at the same
revision is always the same row under the same key, so that a receiver can drop what comes twice. Sends nothing itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from runtime.journal.journal import Journal
from runtime.journal.stored_turn import StoredTurn, TurnKey, Verdict
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


def outbox_rows(journal: Journal, *, public: str, limit: int) -> Iterator[tuple[TurnKey, OutboxRow]]:
    """Turns that have yet to leave, oldest first, redacted; `public` is what the company publishes itself."""
    for key, revision in journal.waiting(limit):
        yield key, _row(journal.turns(key.conversation), key, revision, Redactor(public))


def acknowledge(journal: Journal, keys: set[str]) -> int:
    """Turns that have arrived, by the keys they left under; one that changed since keeps waiting. Returns how many."""
    gone = [(key, revision) for key, revision in journal.waiting(-1) if _name(key, revision) in keys]
    for key, revision in gone:
        journal.mark_sent(key, revision)
    return len(gone)


def _name(key: TurnKey, revision: int) -> str:
    return f"{hashlib.sha256(key.conversation.encode()).hexdigest()[:16]}/{key.number}/{revision}"


def _row(turns: list[StoredTurn], key: TurnKey, revision: int, redactor: Redactor) -> OutboxRow:
    def clean(text: str | None) -> str | None:
        return None if text is None else redactor.redact(text)

    # A name given in the first turn is known by its placeholder in all later ones.
    for turn in turns:
        feedback = turn.feedback
        question, draft = redactor.redact(turn.question), redactor.redact(turn.draft)
        reply = clean(feedback.reply if feedback else None)
        reason = clean(feedback.reason if feedback else None)
        if turn.key == key:
            break
    return OutboxRow(
        key=_name(key, revision),
        conversation=_name(key, revision).split("/")[0],
        turn=key.number,
        revision=revision,
        asked=turn.asked,
        lang=turn.lang,
        question=question,
        draft=draft,
        state=turn.state,
        handoff=turn.handoff,
        model=turn.model,
        citations=turn.details.citations,
        intent=turn.intent,
        emotion=turn.emotion,
        verdict=feedback.verdict if feedback else None,
        reply=reply,
        reason=reason,
        rating=feedback.rating if feedback else None,
        seconds=feedback.seconds if feedback else None,
    )
