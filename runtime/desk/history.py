"""What was said before a question: from the client that keeps the conversation, else from the journal's turns. Pure.

The model is shown what the agent sent, and where nothing was sent, what it drafted itself: a draft that the agent
rewrote or rejected is not repeated to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runtime.events import AskRequest
from runtime.journal.stored_turn import StoredTurn
from runtime.text.normalize import without_invisible
from runtime.text.records import Turn
from runtime.understanding.dialogue_context import detect_language

TURNS_READ = 64
"""Newest turns of a conversation from which its next question is answered: as many as a client may send with it. A
program may put all its customers' questions into one conversation, and each would take longer than the one before."""


def language_of(request: AskRequest, turns: Sequence[StoredTurn]) -> str:
    """The customer's language; a question that shows none is in that of the turn before."""
    if request.lang:
        return request.lang
    if request.context:
        before = [turn.content for turn in request.context if turn.role == "user"][-1:]
        return detect_language(request.words, detect_language(before[0], None) if before else None)
    return detect_language(request.words, turns[-1].lang if turns else None)


def bound_texts(request: AskRequest, chars: int) -> AskRequest:
    """The request with every earlier message cut to `chars` characters, the bound that its question must keep.

    A client may send 64 messages of any length, and every step after this one takes time that grows with the text.
    """
    if all(len(turn.content) <= chars for turn in request.context):
        return request
    cut = tuple(turn.model_copy(update={"content": turn.content[:chars]}) for turn in request.context)
    return request.model_copy(update={"context": cut})


def readable(request: AskRequest) -> AskRequest:
    """The request as it is read: pasted soft hyphens, zero-width spaces and direction marks cut no word in two.

    The journal keeps what was written.
    """
    return request.model_copy(
        update={
            "question": without_invisible(request.question) or " ",
            "asking": without_invisible(request.asking or "") or None,
            "context": tuple(
                turn.model_copy(update={"content": without_invisible(turn.content) or " "}) for turn in request.context
            ),
        }
    )


def bound_turns(turns: Sequence[StoredTurn], chars: int) -> list[StoredTurn]:
    """The journal's turns with every question cut in the same way: a message that wants no draft may be longer."""
    return [turn if len(turn.question) <= chars else replace(turn, question=turn.question[:chars]) for turn in turns]


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
