"""Reads ahead: what an agent types is looked up and read by the model before Enter.

    typed text  ->  the words of it that no longer change  ->  rules, search, prompt  ->  engine, lowest priority

Promises: nothing is stored anywhere; the question that comes in the end chooses its own articles, and only what its
prompt begins with alike is used; an empty text, a newer one, or `KEPT_S` without a word drop what was read; a question
never waits for the typing of another. Knows nothing of rules and prompts: `lay_out` makes a prompt of a question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import EdgedeskError
from runtime.events import AskRequest, Audience
from runtime.text.articles import is_han

if TYPE_CHECKING:
    from runtime.engine.core.generation import Generation
    from runtime.engine.core.interface import TextEngine
    from runtime.prompting.prompt_tokens import Prompt

MAX_TEXT_CHARS = 100_000
"""Of one message of the interface; the setting `question_chars` is the bound that counts."""
KEPT_S = 120.0
"""What nobody went on typing for so long is dropped, when somebody types the next time."""
_NEVER = threading.Event()


class TypingRequest(BaseModel):
    """The body of `POST /v1/typing`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(max_length=MAX_TEXT_CHARS)
    """Everything typed so far; empty when it was deleted or its writer has gone. Of a text longer than the setting
    `question_chars` nothing is read ahead: it could not be asked either."""
    conversation: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w-]+$")
    """The conversation it is for; without it a new name is made, which the question should bear."""
    lang: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    audience: Audience | None = None
    """As in `AskRequest`."""

    def as_question(self, text: str | None = None) -> AskRequest:
        """The question this may become, with `text` in place of what is typed."""
        question = (self.text if text is None else text) or " "
        return AskRequest(question=question, conversation=self.conversation, lang=self.lang, audience=self.audience)


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
        max_chars: int = MAX_TEXT_CHARS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lay_out`: the prompt of a question up to its last word; None where the model would not be asked."""
        self._engine = engine
        self._lay_out = lay_out
        self._max_chars = max_chars
        self._clock = clock
        self._begun: dict[str, _Begun] = {}
        self._working: dict[str, object] = {}
        """Conversations whose words are being looked up, each with a token that `asked` takes away."""
        # Held to look into the two dictionaries and never while something is searched, embedded or sent to the engine:
        # every question takes it (`asked`), and must not wait for a search of somebody else's half sentence.
        self._lock = threading.Lock()

    def typed(self, request: TypingRequest) -> PrefetchStatus:
        """Begin to read what is typed, or say how far that is; returns without waiting for it to be read."""
        conversation = request.conversation or uuid4().hex
        request = request.model_copy(update={"conversation": conversation})
        text = stable_prefix(request.text) if len(request.text) <= self._max_chars else ""
        token = object()
        with self._lock:
            old = self._take_old()
            begun = self._begun.get(conversation)
            if begun is None or begun.settled != text:
                if conversation in self._working:
                    # One look-up a conversation: a slow one must not fill the server's threads with its successors.
                    return PrefetchStatus(conversation, "reading", 0)
                self._working[conversation] = token
                begun = None
        for name in old:
            self._engine.forget(name)
        if begun is not None:
            return _progress_of(conversation, begun)
        try:
            begun = self._begin(request, text)
        finally:
            with self._lock:
                overtaken = self._working.get(conversation) is not token
                if not overtaken:
                    del self._working[conversation]
                    replaced = self._begun.pop(conversation, None)
                    if begun is not None:
                        self._begun[conversation] = begun
        if not overtaken and begun is None and replaced is not None:
            self._engine.forget(conversation)
        return _progress_of(conversation, None if overtaken else begun)

    def asked(self, conversation: str) -> None:
        """The question has come; the engine knows what to do with what was read for it."""
        with self._lock:
            self._begun.pop(conversation, None)
            self._working.pop(conversation, None)

    def _begin(self, request: TypingRequest, text: str) -> _Begun | None:
        prompt = self._lay_out(request.as_question(text)) if text else None
        if prompt is None or request.conversation is None:
            return None
        try:
            generation = self._engine.prefetch(prompt, _NEVER, conversation=request.conversation)
        except EdgedeskError:
            return None  # it only saves time
        return _Begun(text, generation, self._clock())

    def _take_old(self) -> list[str]:
        """Conversations nobody went on typing in, no longer kept; inside the lock."""
        now = self._clock()
        old = [name for name, begun in self._begun.items() if now - begun.at > KEPT_S]
        for conversation in old:
            del self._begun[conversation]
        return old


def stable_prefix(text: str) -> str:
    """The text up to its last finished word, a Chinese character being a word: typing on does not change it."""
    # From the end, character by character: a pattern for the last word would begin anew at every word of the text.
    end = len(text)
    if end and is_han(text[-1]):
        return text[:-1].strip()
    while end and not (text[end - 1].isspace() or is_han(text[end - 1])):
        end -= 1
    return text[:end].strip()


def _progress_of(conversation: str, begun: _Begun | None) -> PrefetchStatus:
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
