"""The line before an engine: requests in from any thread, bounded, and one thread that works them off.

Promises: a request past the line's limit is refused at once; a cancelled one gives up its place within a token, or
within a batch while its prompt is read; an answer that has begun ends with `stats` or raises, it never hangs. Knows
nothing of models: `Backend` computes.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol, Self

from runtime.engine.core.batch_planner import Pace, predict_waits
from runtime.engine.core.crash_report import CrashReport
from runtime.engine.core.generation import Flag, Generation, Place, Stats
from runtime.engine.core.interface import Vocabulary
from runtime.engine.core.request import Request, Running
from runtime.engine.core.sampling_params import NextToken, SamplingParams
from runtime.errors import EdgedeskError, InputError, UnavailableError, UsageError
from runtime.prompting.prompt_tokens import Layout, Prompt

QUEUE_LIMIT = 16


class Backend(Protocol):
    """What computes, a step after the other, in the line's thread; see `runtime.engine.llama.runner.Runner`."""

    slots: int
    pace: Pace
    running: list[Running]

    @property
    def answering(self) -> int:
        """Answers at work."""
        ...

    def admit(self, request: Request) -> bool:
        """Begin a request; False while there is no slot or no room for it."""
        ...

    def step(self) -> None:
        """End what is no longer wanted, then compute one batch."""
        ...

    def forget(self, conversation: str) -> None:
        """What is read ahead for a conversation is not wanted."""
        ...

    def seconds_left(self) -> list[float]:
        """What each answer at work will still take, as far as is known."""
        ...

    def fail(self, error: EdgedeskError) -> None:
        """End everything at work with an error."""
        ...


class Scheduler(ABC):
    """Answers requests until it is closed."""

    layout: Layout = "exact"
    layout_reason = ""
    """Why it is not the layout that was asked for."""

    def __init__(
        self, steps: Backend, *, context_tokens: int, queue_limit: int, adapters: Collection[str] = frozenset()
    ) -> None:
        """Begin to work; what a subclass's methods need has to be there before."""
        self._runner = steps
        self._context_tokens = context_tokens
        self._adapters = frozenset(adapters)
        self.slots = steps.slots
        self.queue_limit = queue_limit
        self._waiting: deque[Request] = deque()
        self._later: deque[Request] = deque()
        """Tasks ahead of any question."""
        self._unwanted: set[str] = set()
        """Conversations for which nothing need be read ahead any more."""
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    @abstractmethod
    def vocab(self) -> Vocabulary:
        """The model's vocabulary, for laying out prompts."""

    @abstractmethod
    def _sampler(self, params: SamplingParams) -> NextToken:
        """What chooses an answer's tokens; `InputError` for settings that cannot be."""

    @abstractmethod
    def _free(self) -> None:
        """Free the model; the thread has ended."""

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together; less than asked for when the model was trained on less."""
        return self._context_tokens

    def generate(
        self,
        prompt: Sequence[int] | Prompt,
        params: SamplingParams,
        cancel: Flag,
        *,
        deadline_s: float | None = None,
        conversation: str | None = None,
    ) -> Generation:
        """Queue a request; returns at once. Past its deadline a waiting one is refused, one at work is cut.

        Raises `InputError` with the counts when the prompt does not fit or a grammar cannot be used, `UnavailableError`
        when the line is full or the engine is closing.
        """
        parts = prompt if isinstance(prompt, Prompt) else Prompt((), (), tuple(prompt))
        self._check(parts, params)
        generation = Generation(parts.flat(), params, cancel, deadline_s=deadline_s)
        with self._changed:
            if self._closing:
                raise UnavailableError("the engine is closing")
            self._drop_unwanted()
            # A free slot is no place in line: the engine's thread takes it as soon as it looks.
            free = self._runner.slots - self._runner.answering
            if len(self._waiting) >= self.queue_limit + free:
                raise UnavailableError(
                    f"{len(self._waiting)} requests are waiting already", hint="ask again in a moment"
                )
            request = Request(generation, parts, sampler=self._sampler(params), conversation=conversation)
            self._waiting.append(request)
            if len(self._waiting) > free:
                self._tell_places(only=generation)
            self._changed.notify()
        return generation

    def compile(self, prompt: Prompt, cancel: Flag, *, adapter: str = "") -> Generation:
        """Compile the one article of a prompt without tail, when nobody waits for anything; it yields no pieces.

        Its `stats` say how much was there already (`reused_tokens`; the article alone when it is on disk) and, where it
        ended `exact`, why it was not done.
        """
        params = SamplingParams(max_tokens=0, adapter=adapter)
        if len(prompt.articles) != 1 or prompt.tail:
            raise UsageError("one article at a time is compiled, without a tail")
        self._check(prompt, params)
        generation = Generation(prompt.flat(), params, cancel)
        if self.layout == "exact":
            generation.put(Stats(len(prompt), 0, 0, 0.0, 0.0, 0.0, "stop", layout_reason=self.layout_reason))
            return generation
        with self._changed:
            if self._closing:
                raise UnavailableError("the engine is closing")
            self._later.append(Request(generation, prompt, "compile"))
            self._changed.notify()
        return generation

    def prepare(self, prompt: Prompt, cancel: Flag, *, conversation: str, adapter: str = "") -> Generation:
        """Read the beginning of a question that is still being typed, when nobody waits for anything; yields no pieces.

        Takes the place of what was to be read for the same conversation before. Its question finds what was read.
        """
        params = SamplingParams(max_tokens=0, adapter=adapter)
        self._check(prompt, params)
        generation = Generation(prompt.flat(), params, cancel)
        with self._changed:
            if self._closing:
                raise UnavailableError("the engine is closing")
            for one in self._later:
                if one.task == "ahead" and one.conversation == conversation:
                    one.generation.close()
            # Before what compiles articles: somebody will ask this soon.
            self._later.appendleft(Request(generation, prompt, "ahead", conversation=conversation))
            self._changed.notify()
        return generation

    def forget(self, conversation: str) -> None:
        """What was read ahead for a conversation is not wanted: it was deleted, or its writer has gone."""
        with self._changed:
            for one in self._later:
                if one.task == "ahead" and one.conversation == conversation:
                    one.generation.close()
            self._unwanted.add(conversation)
            self._changed.notify()

    def crash_report(self) -> CrashReport:
        """No crashes: it has no process of its own."""
        return CrashReport()

    def _check(self, prompt: Prompt, params: SamplingParams) -> None:
        count = len(prompt)
        if not count:
            raise InputError("an empty prompt")
        if count >= self.context_tokens:
            raise InputError(
                f"the prompt has {count} tokens, the context holds {self.context_tokens} with the answer",
                hint="ask a shorter question",
            )
        if params.adapter and params.adapter not in self._adapters:
            known = ", ".join(sorted(self._adapters)) or "none"
            raise InputError(f"there is no adapter '{params.adapter}'", hint=f"known: {known}")

    def close(self) -> None:
        """Refuse new requests, end the ones in work with `UnavailableError`, free the model."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._later or self._unwanted or self._runner.running or self._closing):
                    self._changed.wait()
                if self._closing:
                    break
                while self._unwanted:
                    self._runner.forget(self._unwanted.pop())
                self._drop_unwanted()
                self._admit()
            self._runner.step()
        gone = UnavailableError("the engine is closing")
        self._runner.fail(gone)
        for request in (*self._waiting, *self._later):
            _drop(request)
            request.generation.put(gone)

    def _admit(self) -> None:
        """Give free slots to those who wait longest; the lock is held."""
        before = len(self._waiting)
        while self._waiting and self._runner.admit(self._waiting[0]):
            self._waiting.popleft().generation.put(Place(0))
        if len(self._waiting) < before:
            self._tell_places()
        while not self._waiting and self._later and self._runner.admit(self._later[0]):
            self._later.popleft()

    def _drop_unwanted(self) -> None:
        """Free the places of waiting requests that nobody wants any more or whose time is over; the lock is held."""
        for line in (self._waiting, self._later):
            gone = [one for one in line if one.generation.cancelled or one.generation.overdue]
            for request in gone:
                line.remove(request)
                _drop(request)
                generation = request.generation
                waited = time.monotonic() - generation.submitted
                if generation.cancelled:
                    generation.put(Stats(len(generation.tokens), 0, 0, waited, 0.0, 0.0, "cancelled"))
                else:
                    hint = "ask again when fewer ask"
                    generation.put(UnavailableError(f"its turn had not come after {waited:.0f} s", hint=hint))
            if gone and line is self._waiting:
                self._tell_places()

    def _tell_places(self, only: Generation | None = None) -> None:
        runner = self._runner
        waits = predict_waits(runner.seconds_left(), runner.slots, runner.pace.answer_s, len(self._waiting))
        for position, (one, wait_s) in enumerate(zip(self._waiting, waits, strict=True), start=1):
            if only is None or one.generation is only:
                one.generation.put(Place(position, wait_s))


def _drop(request: Request) -> None:
    if request.sampler is not None:
        request.sampler.close()
