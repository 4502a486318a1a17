"""The hand-off card: what a colleague must know to go on without asking the customer again. Pure.

Everything on it is quoted from the journal or counted there; no model writes it. Knows nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.journal.stored_turn import StoredTurn
from runtime.text.personal_data import NO_RULES, PersonalRules
from runtime.understanding.dialogue_context import find_entities

_SUMMARY = {
    "en": "{count} messages. It began with: “{first}” Handed over at: “{last}”",
    "zh": "共{count}条消息。开始于：“{first}”转接时：“{last}”",
}
_ONE = {"en": "One message: “{first}”", "zh": "一条消息：“{first}”"}
_MAX_CHARS = 200


@dataclass(frozen=True)
class Tried:
    """An answer that the customer was given, or a draft that was turned down."""

    turn: int
    question: str
    answer: str
    citations: tuple[str, ...]
    verdict: str | None


@dataclass(frozen=True)
class HandoffCard:
    """A hand-off as the next person reads it."""

    reason: str
    summary: str
    open_questions: tuple[str, ...]
    """Questions that nobody has answered, oldest first."""
    tried: tuple[Tried, ...]
    entities: dict[str, str]
    language: str
    intent: str | None
    emotion: str | None


def make_card(turns: Sequence[StoredTurn], number: int, rules: PersonalRules = NO_RULES) -> HandoffCard:
    """The card of the hand-off at turn `number`, which must be one of `turns`, oldest first.

    `rules` say how the company writes its order numbers.
    """
    turns = [turn for turn in turns if turn.key.number <= number]
    last = turns[-1]
    text = (_SUMMARY if len(turns) > 1 else _ONE).get(last.lang) or (_SUMMARY if len(turns) > 1 else _ONE)["en"]
    return HandoffCard(
        reason=last.handoff or "",
        summary=text.format(count=len(turns), first=_short(turns[0].question), last=_short(last.question)),
        open_questions=tuple(turn.question for turn in turns if not _answered(turn)),
        tried=tuple(_tried(turn) for turn in turns if _said(turn)),
        entities=find_entities([turn.question for turn in turns], rules),
        language=last.lang,
        intent=next((turn.intent for turn in reversed(turns) if turn.intent), None),
        emotion=last.emotion,
    )


def _answered(turn: StoredTurn) -> bool:
    return bool(turn.reply_or_draft)


def _said(turn: StoredTurn) -> str:
    # A rejected draft belongs on the card too: the colleague should not propose it again.
    return turn.reply_or_draft or (turn.draft if turn.rejected and not turn.handoff else "")


def _tried(turn: StoredTurn) -> Tried:
    verdict = turn.feedback.verdict if turn.feedback else None
    return Tried(turn.key.number, turn.question, _said(turn), turn.details.citations, verdict)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"
