"""Reading ahead at the desk: what an agent types is looked up and read by the model before Enter (DESIGN §4).

    typed text  ->  the words of it that no longer change  ->  rules, search, prompt  ->  engine, lowest priority

Promises: nothing is stored anywhere; the question that comes in the end chooses its own articles, and only what its
prompt begins with alike is used; an empty text, a newer one, or `KEPT_S` without a word drop what was read. Knows
nothing of rules and prompts: `lay_out` makes a prompt of a question.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import EdgedeskError
from runtime.events import AskRequest

if TYPE_CHECKING:
    from runtime.engine.core.generation import Generation
    from runtime.engine.core.interface import TextEngine
    from runtime.prompting.prompt_tokens import Prompt

KEPT_S = 120.0
"""What nobody went on typing for so long is dropped, when somebody types the next time."""
_UNSETTLED = re.compile(r"(?:[\u3400-\u9fff\uf900-\ufaff]|[^\s\u3400-\u9fff\uf900-\ufaff]+)$")
"""The last word; a Chinese character counts as one."""
_NEVER = threading.Event()


class TypingRequest(BaseModel):
    """The body of `POST /v1/typing`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(max_length=100_000)
    """Everything typed so far; empty when it was deleted or its writer has gone."""
    conversation: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w-]+$")
    """The conversation it is for; without it a new name is made, which the question should bear."""
    lang: str | None = Field(default=None, pattern=r"^[a-z]{2}$")


@dataclass(frozen=True)
class PrefetchStatus:
    """What became of it."""

    conversation: str
    state: Literal["reading", "ready", "off", "nothing"]
    """`off`: switched off; `nothing`: there is nothing to read, by rule or for want of words or articles."""
    tokens: int
    """Of the prompt, read so far."""


@dataclass(frozen=True)
class _Begun:
    settled: str
    generation: Generation
    at: float


class Prefetcher:
    """What is typed at one desk. Safe to call from several threads."""

    def __init__(
        self,
        engine: TextEngine,
        lay_out: Callable[[AskRequest], Prompt | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lay_out`: the prompt of a question up to its last word; None where the model would not be asked."""
        self._engine = engine
        self._lay_out = lay_out
        self._clock = clock
        self._begun: dict[str, _Begun] = {}
        self._lock = threading.Lock()

    def typed(self, request: TypingRequest) -> PrefetchStatus:
        """Begin, or go on, to read what is typed; returns without waiting for it to be read."""
        conversation = request.conversation or uuid4().hex
        text = stable_prefix(request.text)
        with self._lock:
            self._drop_old()
            begun = self._begun.get(conversation)
            if begun is None or begun.settled != text:
                begun = self._begin(conversation, text, request.lang)
            return _told(conversation, begun)

    def asked(self, conversation: str) -> None:
        """The question has come; the engine knows what to do with what was read for it."""
        with self._lock:
            self._begun.pop(conversation, None)

    def _begin(self, conversation: str, text: str, lang: str | None) -> _Begun | None:
        request = AskRequest(question=text, conversation=conversation, lang=lang) if text else None
        prompt = self._lay_out(request) if request else None
        if prompt is None:
            if self._begun.pop(conversation, None):
                self._engine.forget(conversation)
            return None
        try:
            generation = self._engine.prepare(prompt, _NEVER, conversation=conversation)
        except EdgedeskError:
            self._begun.pop(conversation, None)
            return None  # it only saves time
        begun = self._begun[conversation] = _Begun(text, generation, self._clock())
        return begun

    def _drop_old(self) -> None:
        now = self._clock()
        for conversation in [name for name, begun in self._begun.items() if now - begun.at > KEPT_S]:
            del self._begun[conversation]
            self._engine.forget(conversation)


def stable_prefix(text: str) -> str:
    """The text up to its last finished word: what is typed next does not change it."""
    return _UNSETTLED.sub("", text).strip()


def _told(conversation: str, begun: _Begun | None) -> PrefetchStatus:
    if begun is None:
        return PrefetchStatus(conversation, "nothing", 0)
    generation = begun.generation
    if not generation.ended:
        return PrefetchStatus(conversation, "reading", generation.progress.done)
    try:
        for _ in generation:
            pass  # it has no pieces, and has ended
    except EdgedeskError:
        return PrefetchStatus(conversation, "nothing", 0)
    # One that had to give way to a question is not taken up again before the next word.
    ready = generation.stats.finish == "stop"
    return PrefetchStatus(conversation, "ready" if ready else "nothing", len(generation.tokens) if ready else 0)
