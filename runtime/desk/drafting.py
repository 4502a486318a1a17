"""Lets the engine write a draft, and takes it down as it grows.

Promises: what was sent is in the journal at most `draft_every_s` later; closing the iterator gives the engine's place
back. Knows nothing of rules, articles and sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runtime.base.settings import Settings
from runtime.desk.turn_state import TurnState
from runtime.engine.core.stopping import StopStrings
from runtime.events import Event, Queued, Reading, Token
from runtime.journal.journal import Journal

if TYPE_CHECKING:
    from runtime.engine.core.generation import Flag
    from runtime.engine.core.interface import TextEngine
    from runtime.prompting.prompt_tokens import Prompt


def write_draft(
    work: TurnState,
    prompt: Prompt,
    cancel: Flag,
    engine: TextEngine,
    journal: Journal,
    settings: Settings,
    *,
    most: int,
    stop_tokens: frozenset[int],
    clock: Callable[[], float],
) -> Iterator[Event]:
    """Queued, Reading and Token events; `work` holds the draft and the engine's counts when it ends.

    At most `most` tokens are written.
    """
    from runtime.engine.core.generation import Place, Progress
    from runtime.engine.core.sampling_params import SamplingParams

    request = work.request
    params = SamplingParams(
        max_tokens=min(most, request.max_tokens or most),
        temperature=settings.temperature if request.temperature is None else request.temperature,
        top_p=settings.top_p if request.top_p is None else request.top_p,
        seed=request.seed or 0,
        stop=stop_tokens,
    )

    def wrote(text: str) -> Token:
        now = clock()
        work.first = work.first or now
        text = text if work.draft else work.lead + text
        work.draft += text
        if now - work.drafted >= settings.draft_every_s:
            work.drafted = now
            journal.draft(work.key, work.draft)
        return Token(text=text)

    generation = engine.generate(prompt, params, cancel, conversation=work.key.conversation)
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
            text = stop.feed(update.text if work.draft else update.text.lstrip())
            if text:
                yield wrote(text)
            if stop.hit:
                generation.close()
        if text := stop.rest():
            yield wrote(text)
    finally:
        generation.close()
    stats = generation.stats
    work.speed = stats.tokens_per_s
    work.reading |= {"prompt_tokens": stats.prompt_tokens, "reused_tokens": stats.reused_tokens}
    work.reading |= {"answer_tokens": stats.answer_tokens, "queued_s": round(stats.queued_s, 3)}
    work.reading |= {"finish": "stop" if stop.hit else stats.finish}
    work.reading |= {"layout": stats.layout, "layout_reason": stats.layout_reason}
