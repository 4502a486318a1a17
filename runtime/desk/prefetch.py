"""Reads and answers ahead: what an agent types is looked up, read and answered by the model before Enter.

    typed text  ->  the words of it that no longer change  ->  rules, search, prompt  ->  engine, only while it is idle
                ->  all of it, where it may be whole       ->  the same, and the draft's first tokens

Promises: nothing is stored anywhere; the question that comes in the end chooses its own articles, and only what its
prompt begins with alike is used, of a draft nothing unless the prompts are the same; an empty text, a newer one, or
`KEPT_S` without a word drop what was read and written; a question never waits for the typing of another. Knows nothing
of rules and prompts: `lay_out` and `lay_out_whole` make a prompt of a question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from runtime.desk.answer_ahead import AheadLedger, may_be_whole
from runtime.errors import EdgedeskError
from runtime.events import AskRequest, Audience
from runtime.text.articles import is_han

if TYPE_CHECKING:
    from runtime.engine.core.generation import Generation
    from runtime.engine.core.interface import TextEngine
    from runtime.engine.core.sampling_params import SamplingParams
    from runtime.prompting.prompt_tokens import Prompt

MAX_TEXT_CHARS = 100_000
"""Of one message of the interface; the setting `question_chars` is the bound that counts."""
KEPT_S = 120.0
"""What nobody went on typing for so long is dropped."""
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
    paused: bool = False
    """Whether the writer has stopped typing for a moment, so that the text may be all of it; the end of a sentence is
    noticed without."""

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
    written: int = 0
    """Of the draft, once it is `ready`."""


@dataclass(frozen=True)
class _Begun:
    text: str
    """What of the typed text it was begun for."""
    whole: bool
    """Whether that is all of it, and a draft is written."""
    generation: Generation
    at: float


class Prefetcher:
    """What is typed at one desk. Safe to call from several threads."""

    def __init__(
        self,
        engine: TextEngine,
        lay_out: Callable[[AskRequest], Prompt | None],
        *,
        lay_out_whole: Callable[[AskRequest], tuple[Prompt, SamplingParams] | None] = lambda _request: None,
        may_draft: Callable[[], bool] = lambda: False,
        ahead_tokens: int = 0,
        max_chars: int = MAX_TEXT_CHARS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lay_out`: the prompt of a question up to its last word; None where the model would not be asked.

        `lay_out_whole`: all of it, and how its answer is chosen. `may_draft`: whether there is anything to spare for
        `ahead_tokens` of an answer that nobody has asked for.
        """
        self.ledger = AheadLedger()
        self._engine = engine
        self._lay_out = lay_out
        self._lay_out_whole = lay_out_whole
        self._may_draft = may_draft
        self._ahead_tokens = ahead_tokens
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
        typed = request.text if len(request.text) <= self._max_chars else ""
        if not typed.strip():
            # Also what is being looked up just now: nothing of a text that was deleted may be begun after this.
            self.asked(conversation)
            self._engine.forget(conversation)
            return PrefetchStatus(conversation, "nothing", 0)
        whole = may_be_whole(typed, paused=request.paused) and self._may_draft()
        text = typed if whole else stable_prefix(typed)
        token = object()
        with self._lock:
            old = self._take_old()
            begun = self._begun.get(conversation)
            # A draft is kept while its text stays, whether or not the pause is told of again.
            unchanged = begun is not None and (begun.text, begun.whole) in ((text, whole), (typed, True))
            if begun is None or not unchanged:
                if conversation in self._working:
                    # One look-up a conversation: a slow one must not fill the server's threads with its successors.
                    return PrefetchStatus(conversation, "reading", 0)
                self._working[conversation] = token
                begun = None
        for name in old:
            self._engine.forget(name)
        if begun is not None:
            return self._progress_of(conversation, begun)
        try:
            begun = self._begin(request, text, whole=whole)
        finally:
            with self._lock:
                overtaken = self._working.get(conversation) is not token
                if not overtaken:
                    del self._working[conversation]
                    replaced = self._begun.pop(conversation, None)
                    if begun is not None:
                        self._begun[conversation] = begun
        if overtaken and begun is not None:
            # Its question has come, and would find an older beginning in its way; or its text was deleted.
            begun.generation.close()
            self._engine.forget(conversation)
        if not overtaken and begun is None and replaced is not None:
            self._engine.forget(conversation)
        return self._progress_of(conversation, None if overtaken else begun)

    def forget_abandoned(self) -> None:
        """Drop what nobody went on typing for `KEPT_S`; to be called from time to time."""
        with self._lock:
            old = self._take_old()
        for name in old:
            self._engine.forget(name)

    def asked(self, conversation: str) -> None:
        """The question has come; the engine knows what to do with what was read for it."""
        with self._lock:
            self._begun.pop(conversation, None)
            self._working.pop(conversation, None)

    def _begin(self, request: TypingRequest, text: str, *, whole: bool) -> _Begun | None:
        if not text.strip() or request.conversation is None:
            return None
        try:
            generation = self._start(request.as_question(text), request.conversation, whole=whole)
        except EdgedeskError:
            return None  # it only saves time
        if generation is None:
            return None
        self.ledger.begun(generation, draft=whole)
        return _Begun(text, whole, generation, self._clock())

    def _start(self, question: AskRequest, conversation: str, *, whole: bool) -> Generation | None:
        """Have the engine read, or read and write; None where the model would not be asked."""
        if whole:
            if (laid_out := self._lay_out_whole(question)) is None:
                return None
            prompt, params = laid_out
            return self._engine.draft(
                prompt, params, _NEVER, conversation=conversation, ahead_tokens=self._ahead_tokens
            )
        if (beginning := self._lay_out(question)) is None:
            return None
        return self._engine.prefetch(beginning, _NEVER, conversation=conversation)

    def _progress_of(self, conversation: str, begun: _Begun | None) -> PrefetchStatus:
        if begun is None:
            return PrefetchStatus(conversation, "nothing", 0)
        generation = begun.generation
        if not generation.ended:
            return PrefetchStatus(conversation, "reading", generation.progress.done)
        # One that had to give way to a question is not taken up again before the next word.
        if not self.ledger.finished(generation) or generation.stats.finish == "cancelled":
            return PrefetchStatus(conversation, "nothing", 0)
        return PrefetchStatus(conversation, "ready", len(generation.tokens), generation.stats.answer_tokens)

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
