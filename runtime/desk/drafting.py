"""Lets the engine write a draft, and stores it as it grows.

Promises: what was sent is in the journal at most `draft_every_s` later; closing the iterator gives the engine's place
back. Knows nothing of rules, articles and sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runtime.base.settings import Settings
from runtime.desk.turn_state import Draft, TurnState
from runtime.engine.core.generation import Place, Progress
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.core.stop_strings import StopStrings
from runtime.events import AskRequest, Event, Queued, Reading, Token
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import TurnKey

if TYPE_CHECKING:
    from runtime.engine.core.generation import Flag
    from runtime.engine.core.interface import TextEngine

MAX_DRAFT_CHARS = 20_000
"""After which a draft is cut: `answer_tokens` bounds its tokens, and a vocabulary may have tokens of any length.

As long as the longest reply of an agent."""


def sampling_of(
    request: AskRequest, settings: Settings, *, max_tokens: int, stop_tokens: frozenset[int]
) -> SamplingParams:
    """How the draft of a question is written, ahead of it or after: what differed would be another draft."""
    return SamplingParams(
        max_tokens=min(max_tokens, request.max_tokens or max_tokens),
        temperature=settings.temperature if request.temperature is None else request.temperature,
        top_p=settings.top_p if request.top_p is None else request.top_p,
        seed=request.seed or 0,
        stop=stop_tokens,
    )


def write_draft(
    key: TurnKey,
    state: TurnState,
    draft: Draft,
    cancel: Flag,
    engine: TextEngine,
    journal: Journal,
    settings: Settings,
    *,
    max_tokens: int,
    stop_tokens: frozenset[int],
    clock: Callable[[], float],
) -> Iterator[Event]:
    """Queued, Reading and Token events; `draft` holds the text and the engine's counts when it ends.

    `state` has the prompt; at most `max_tokens` are written.
    """
    assert state.prompt is not None
    request = state.request
    params = sampling_of(request, settings, max_tokens=max_tokens, stop_tokens=stop_tokens)

    def is_full() -> bool:
        return len(draft.text) >= MAX_DRAFT_CHARS

    def wrote(text: str) -> Token:
        now = clock()
        draft.first = draft.first or now
        text = (text if draft.text else state.lead + text)[: MAX_DRAFT_CHARS - len(draft.text)]
        draft.text += text
        if now - draft.stored >= settings.draft_every_s:
            draft.stored = now
            journal.draft(key, draft.text)
        return Token(text=text)

    generation = engine.generate(state.prompt, params, cancel, conversation=key.conversation)
    place = None
    stop = StopStrings(request.stop)
    try:
        for update in generation.updates():
            if isinstance(update, Place):
                if update.position != place:
                    place = update.position
                    yield Queued(position=place, wait_s=round(update.wait_s, 1))
                continue
            if isinstance(update, Progress):
                yield Reading(done=update.done, total=update.total)
                continue
            # The prompt ends right where the answer starts; what a model writes before its first word is no text.
            text = stop.feed(update.text if draft.text else update.text.lstrip())
            if text and not is_full():
                yield wrote(text)
            if stop.found or is_full():
                generation.close()
        if (text := stop.rest()) and not is_full():
            yield wrote(text)
    finally:
        generation.close()
    stats = generation.stats
    draft.ahead_tokens = stats.ahead_tokens
    draft.counts = {
        "prompt_tokens": stats.prompt_tokens,
        "reused_tokens": stats.reused_tokens,
        "answer_tokens": stats.answer_tokens,
        "queued_s": round(stats.queued_s, 3),
        "tokens_per_s": round(stats.tokens_per_s, 1),
        "finish": "stop" if stop.found else "length" if is_full() else stats.finish,
        "layout": stats.layout,
        "layout_reason": stats.layout_reason,
    }
