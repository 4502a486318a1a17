"""What was said before a question: from the client that keeps the conversation, else from the journal's turns. Pure.

The model is shown what the agent sent, and where nothing was sent, what it drafted itself: a draft that the agent
rewrote or rejected is not repeated to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.events import AskRequest
from runtime.journal.stored_turn import StoredTurn
from runtime.text.records import Turn
from runtime.understanding.dialogue_context import detect_language


def language_of(request: AskRequest, turns: Sequence[StoredTurn]) -> str:
    """The customer's language; a question that shows none is in that of the turn before."""
    if request.lang:
        return request.lang
    if request.context:
        before = [turn.content for turn in request.context if turn.role == "user"][-1:]
        return detect_language(request.question, detect_language(before[0], None) if before else None)
    return detect_language(request.question, turns[-1].lang if turns else None)


def bound_texts(request: AskRequest, chars: int) -> AskRequest:
    """The request with every earlier message cut to `chars` characters, the bound that its question must keep.

    A client may send 64 messages of any length, and every step after this one takes time that grows with the text.
    """
    if all(len(turn.content) <= chars for turn in request.context):
        return request
    cut = tuple(turn.model_copy(update={"content": turn.content[:chars]}) for turn in request.context)
    return request.model_copy(update={"context": cut})


def earlier_questions(request: AskRequest, turns: Sequence[StoredTurn]) -> list[str]:
    """The customer's questions before this one, oldest first."""
    if request.context:
        return [turn.content for turn in request.context if turn.role == "user"]
    return [turn.question for turn in turns]


def shown_turns(request: AskRequest, turns: Sequence[StoredTurn], count: int) -> list[Turn]:
    """The last `count` exchanges as the model is shown them, oldest first."""
    if not count:
        return []
    if request.context:
        return list(request.context[-2 * count :])
    pairs = [(turn.question, turn.reply_or_draft) for turn in turns if turn.reply_or_draft]
    return [
        part
        for question, said in pairs[-count:]
        for part in (Turn(role="user", content=question), Turn(role="assistant", content=said))
    ]
