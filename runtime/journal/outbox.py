"""What may leave the branch: turns with their feedback, personal data replaced by placeholders.

Promises: a text leaves only through `Redactor`; a conversation's name leaves as a keyed hash (`Journal.alias`), an
agent's own words for a hand-off not at all; the same turn at the same revision is always the same row under the same
key, so that a receiver can drop what comes twice. Sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from runtime.journal.journal import Journal, WaitingTurn
from runtime.journal.outbox_queue import set_aside
from runtime.journal.sqlite_errors import database_errors
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


class OutboxPage(NamedTuple):
    """Some turns of the outbox, oldest first."""

    rows: tuple[OutboxRow, ...]
    unreadable: tuple[str, ...]
    """Keys of turns that cannot leave as they are: a text in the file is damaged."""


def outbox_page(
    journal: Journal,
    *,
    public: str,
    limit: int,
    skip: int = 0,
    reasons: Collection[str] = (),
    rules: PersonalRules = NO_RULES,
) -> OutboxPage:
    """The turns that `outbox_rows` gives, with those that it passes over."""
    poison: list[WaitingTurn] = []
    rows = outbox_rows(
        journal, public=public, limit=limit, skip=skip, reasons=reasons, rules=rules, unreadable=poison.append
    )
    found = tuple(row for _, row in rows)
    return OutboxPage(found, tuple(_name(journal.alias(one.key.conversation), one) for one in poison))


def outbox_rows(
    journal: Journal,
    *,
    public: str,
    limit: int,
    skip: int = 0,
    reasons: Collection[str] = (),
    rules: PersonalRules = NO_RULES,
    unreadable: Callable[[WaitingTurn], None] = lambda _turn: None,
) -> Iterator[tuple[TurnKey, OutboxRow]]:
    """Turns that have yet to leave, oldest first, redacted; `skip` passes over so many of them.

    `public` is what the company publishes itself, `rules` are its policies'; `reasons` are the hand-off reasons of its
    policies: one that an agent gave in other words leaves as `other`. A turn whose texts cannot be read, since a bit
    of the file has flipped, goes to `unreadable` and holds up no other conversation.
    """
    clean: dict[str, list[_CleanTurn] | None] = {}
    for waiting in journal.waiting(limit, skip):
        conversation = waiting.key.conversation
        if conversation not in clean:
            clean[conversation] = _read_clean(journal, conversation, Redactor(public, rules))
        turns = clean[conversation]
        if turns is None:
            unreadable(waiting)
            continue
        for turn in turns:
            if turn.stored.key == waiting.key:  # else it was forgotten meanwhile
                yield waiting.key, _row(journal.alias(conversation), turn, waiting.revision, reasons)


def acknowledge(journal: Journal, keys: Collection[str]) -> int:
    """Turns that have arrived, by the keys they left under; one that changed since keeps waiting. Returns how many."""
    with journal.transaction():  # one for all: an fsync a row would take a long outbox minutes
        arrived = _waiting_under(journal, keys)
        for key, revision in arrived:
            journal.mark_sent(key, revision)
    return len(arrived)


def put_aside(journal: Journal, keys: Collection[str]) -> int:
    """Turns that cannot leave as they are, by the same keys; returns how many."""
    if not keys:
        return 0
    with journal.transaction():
        return sum(set_aside(journal, turn) for turn in _waiting_under(journal, keys))


def still_waiting(journal: Journal, keys: Collection[str]) -> frozenset[str]:
    """Of these keys, those of turns that are still there, and as they were when the row was made."""
    found = _waiting_under(journal, keys)
    return frozenset(_name(journal.alias(turn.key.conversation), turn) for turn in found)


def _waiting_under(journal: Journal, keys: Collection[str]) -> list[WaitingTurn]:
    wanted = frozenset(keys)
    return [one for one in journal.waiting(-1) if _name(journal.alias(one.key.conversation), one) in wanted]


def _read_clean(journal: Journal, conversation: str, redactor: Redactor) -> list[_CleanTurn] | None:
    """A conversation's turns, redacted; None where one of its texts cannot be read.

    Once a conversation: a name given in the first turn is known by its placeholder in all later ones.
    """
    unreadable: tuple[type[Exception], ...] = (*database_errors(), ValueError)
    try:
        return _clean_turns(journal.turns(conversation), redactor)
    except unreadable:
        # Neither a full disk nor a failing one: those are errors of ours by now. The text is no UTF-8, or its row
        # breaks a promise of its table.
        return None


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

    said = ["", *((turn.feedback.reply if turn.feedback else None) or turn.draft for turn in turns)]
    return [
        _CleanTurn(
            turn,
            redactor.redact(turn.question, asked=before),
            redactor.redact(turn.draft),
            clean(turn.feedback.reply if turn.feedback else None),
            clean(turn.feedback.reason if turn.feedback else None),
        )
        for before, turn in zip(said, turns, strict=False)
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
