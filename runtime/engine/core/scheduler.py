"""The queue before an engine: requests in from any thread, bounded, and one thread that computes them.

Promises: a request past the queue's limit is refused at once; a cancelled one gives up its place within a token, or
within a batch while its prompt is read; an answer that has begun ends with `stats` or raises; an exception anywhere in
the computing thread fails what was in work and nothing later. Knows nothing of models: a `Backend` computes.

Locking: `_changed` guards the two queues and `_closing`, and is held while requests are admitted, never while a batch
is computed. The backend belongs to the computing thread; other threads only read its counts.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from runtime.engine.core.batch_planner import StepCosts, predict_waits
from runtime.engine.core.crash_report import CrashReport
from runtime.engine.core.generation import Flag, Generation, Place, Stats
from runtime.engine.core.interface import Vocabulary
from runtime.engine.core.request import Request
from runtime.engine.core.sampling_params import SamplingParams
from runtime.errors import EdgedeskError, InputError, ModelError, UnavailableError, UsageError
from runtime.prompting.prompt_tokens import Layout, Prompt

QUEUE_LIMIT = 16


class Backend(Protocol):
    """What computes, one step after the other, in the scheduler's thread; see `LlamaRunner` and `OnnxRunner`."""

    slots: int
    costs: StepCosts
    completed: int
    """Answers written to their end, cancelled ones not counted."""

    @property
    def busy(self) -> bool:
        """Whether any request is active."""
        ...

    @property
    def answering(self) -> int:
        """Active requests for which a reader waits."""
        ...

    def admit(self, request: Request) -> bool:
        """Begin a request; False while there is no slot or no room for it."""
        ...

    def step(self) -> None:
        """End what is no longer wanted, then compute one batch."""
        ...

    def forget(self, conversation: str) -> None:
        """Drop what is read ahead for a conversation."""
        ...

    def seconds_left(self) -> list[float]:
        """Seconds that each active answer will still take, as far as is known."""
        ...

    def fail(self, error: EdgedeskError) -> None:
        """End everything active with an error, and forget everything: nothing in memory can be trusted."""
        ...


@dataclass(frozen=True)
class EngineHealth:
    """How the computing thread is doing; read from other threads."""

    step_s: float
    """Seconds since the step under way began; 0 when it waits for work."""
    failed_steps: int
    """Steps that raised since the last answer was written to its end."""
    alive: bool
    """Whether the computing thread runs at all."""


class Scheduler(ABC):
    """Answers requests until it is closed."""

    layout: Layout = "exact"
    layout_reason = ""
    """Why it is not the layout that was asked for."""

    def __init__(self, backend: Backend, *, context_tokens: int, queue_limit: int) -> None:
        """Start computing; a subclass must have set what its own methods need before."""
        self.backend = backend
        self._context_tokens = context_tokens
        self.slots = backend.slots
        self.queue_limit = queue_limit
        self._waiting: deque[Request] = deque()
        """Questions, first come first served."""
        self._background: deque[Request] = deque()
        """Prefetches, drafts and compilations: admitted only while no question waits."""
        self._to_forget: set[str] = set()
        """Conversations whose prefetched prompts the computing thread has to drop."""
        self._closing = False
        self._step_began: float | None = None
        self._failed_steps = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    @abstractmethod
    def vocab(self) -> Vocabulary:
        """The model's vocabulary, for laying out prompts."""

    @abstractmethod
    def _free(self) -> None:
        """Free the model; the computing thread has ended."""

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together; less than asked for when the model was trained on less."""
        return self._context_tokens

    def generate(
        self, prompt: Sequence[int] | Prompt, params: SamplingParams, cancel: Flag, *, conversation: str | None = None
    ) -> Generation:
        """Queue a request; returns at once.

        Raises `InputError` with the counts when the prompt does not fit, `UnavailableError` when the queue is full or
        the engine is closing.
        """
        parts = prompt if isinstance(prompt, Prompt) else Prompt((), (), tuple(prompt))
        self._check_length(parts)
        generation = Generation(parts.flat(), params, cancel)
        with self._changed:
            self._check_open()
            self._drop_cancelled()
            # A free slot is no place in the queue: the computing thread fills it as soon as it looks.
            free = self.backend.slots - self.backend.answering
            if len(self._waiting) >= self.queue_limit + free:
                raise UnavailableError(
                    f"{len(self._waiting)} requests are waiting already", hint="ask again in a moment"
                )
            if conversation is not None:
                # What has not begun is of no use any more; what has is the runner's to use.
                self._cancel_prefetches(conversation)
            self._waiting.append(Request(generation, parts, conversation=conversation))
            if len(self._waiting) > free:
                self._send_places(only=generation)
            self._changed.notify()
        return generation

    def compile(self, prompt: Prompt, cancel: Flag) -> Generation:
        """Compile the one article of a prompt without a tail while no question waits; it yields no pieces.

        Its `stats` say how much existed already (`reused_tokens`: the article alone when it is on disk) and, where it
        ended `exact`, why it was not done.
        """
        if len(prompt.articles) != 1 or prompt.tail:
            raise UsageError("one article at a time is compiled, without a tail")
        self._check_length(prompt)
        generation = Generation(prompt.flat(), SamplingParams(max_tokens=0), cancel)
        if self.layout == "exact":
            generation.put(Stats(len(prompt), 0, 0, 0.0, 0.0, 0.0, "stop", layout_reason=self.layout_reason))
            return generation
        with self._changed:
            self._check_open()
            self._background.append(Request(generation, prompt, "compile"))
            self._changed.notify()
        return generation

    def prefetch(self, prompt: Prompt, cancel: Flag, *, conversation: str) -> Generation:
        """Read the beginning of a question that is still being typed while no question waits; it yields no pieces.

        Replaces what was to be read for the same conversation before. The conversation's question finds what was read.
        """
        self._check_length(prompt)
        generation = Generation(prompt.flat(), SamplingParams(max_tokens=0), cancel)
        with self._changed:
            self._check_open()
            self._cancel_prefetches(conversation)
            # Before compilations: this will be asked soon.
            self._background.appendleft(Request(generation, prompt, "prefetch", conversation=conversation))
            self._changed.notify()
        return generation

    def draft(
        self, prompt: Prompt, params: SamplingParams, cancel: Flag, *, conversation: str, ahead_tokens: int
    ) -> Generation:
        """Begin the answer to a question that may never come: read its prompt and write at most `ahead_tokens`.

        It yields no pieces. Its text stays in the engine until `generate` is called for the same conversation with the
        same tokens and parameters, which goes on with it; anything else for that conversation drops it. Nothing of it
        is computed in a step that anybody waits for. Replaces what was read or written for the conversation before.
        """
        self._check_length(prompt)
        generation = Generation(prompt.flat(), params, cancel)
        with self._changed:
            self._check_open()
            self._cancel_prefetches(conversation)
            request = Request(generation, prompt, "draft", conversation=conversation, ahead_tokens=ahead_tokens)
            # Before compilations: this may be asked in a moment.
            self._background.appendleft(request)
            self._changed.notify()
        return generation

    @property
    def answering(self) -> int:
        """Answers that somebody waits for, begun or not."""
        return self.backend.answering + len(self._waiting)

    def forget(self, conversation: str) -> None:
        """Drop what was read and written ahead for a conversation: it was deleted, or its writer has gone."""
        with self._changed:
            self._cancel_prefetches(conversation)
            self._to_forget.add(conversation)
            self._changed.notify()

    def refuses(self, prompt: Prompt) -> bool:  # noqa: ARG002 - the signature of every engine
        """No prompt: a crash would have taken this process along."""
        return False

    def crash_report(self) -> CrashReport:
        """No crashes: it has no process of its own."""
        return CrashReport()

    def health(self) -> EngineHealth:
        """How the computing thread is doing. Takes no lock, so that it answers while the thread hangs with one."""
        began = self._step_began
        step_s = 0.0 if began is None else time.monotonic() - began
        return EngineHealth(step_s, self._failed_steps, self._thread.is_alive())

    def close(self) -> None:
        """Refuse new requests, end active and waiting ones with `UnavailableError`, free the model."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_length(self, prompt: Prompt) -> None:
        count = len(prompt)
        if not count:
            raise InputError("an empty prompt")
        if count >= self.context_tokens:
            raise InputError(
                f"the prompt has {count} tokens, the context holds {self.context_tokens} with the answer",
                hint="ask a shorter question",
            )

    def _check_open(self) -> None:
        """The lock is held."""
        if self._closing:
            raise UnavailableError("the engine is closing")

    def _cancel_prefetches(self, conversation: str) -> None:
        """The lock is held."""
        for request in self._background:
            if request.task in ("prefetch", "draft") and request.conversation == conversation:
                request.generation.close()

    def _run(self) -> None:
        """The computing thread."""
        try:
            while self._wait_for_work():
                self._step_began, completed = time.monotonic(), self.backend.completed
                try:
                    self._admit()
                    self.backend.step()
                    if self.backend.completed > completed:
                        self._failed_steps = 0
                except Exception as error:
                    # Whatever it was: those who wait must hear of it, and the thread must live for those who come.
                    self._failed_steps += 1
                    self.backend.fail(_as_engine_error(error))
                finally:
                    self._step_began = None
        finally:
            # The regular end, or `fail` itself has raised: no request may wait for a thread that is gone.
            self._end_all(UnavailableError("the engine is closing"))

    def _wait_for_work(self) -> bool:
        """Wait until there is anything to do; False when the engine is closing."""
        with self._changed:
            while not (self._waiting or self._background or self._to_forget or self.backend.busy or self._closing):
                self._changed.wait()
            return not self._closing

    def _admit(self) -> None:
        """Give free slots to the questions that wait longest, then to background work."""
        with self._changed:
            while self._to_forget:
                self.backend.forget(self._to_forget.pop())
            self._drop_cancelled()
            before = len(self._waiting)
            while self._waiting and self._admit_first(self._waiting):
                self._waiting.popleft().generation.put(Place(0))
            if len(self._waiting) < before:
                self._send_places()
            while not self._waiting and self._background and self._admit_first(self._background):
                self._background.popleft()

    def _admit_first(self, requests: deque[Request]) -> bool:
        """Admit the first request of a queue.

        One that raises is failed, or it would block the queue for ever. The error is raised on, since the backend's
        state is not known after it.
        """
        try:
            return self.backend.admit(requests[0])
        except Exception as error:
            requests.popleft().generation.put(_as_engine_error(error))
            raise

    def _drop_cancelled(self) -> None:
        """Free the places of requests that were cancelled while they waited; the lock is held."""
        for requests in (self._waiting, self._background):
            cancelled = [request for request in requests if request.generation.cancelled]
            for request in cancelled:
                requests.remove(request)
                generation = request.generation
                waited = time.monotonic() - generation.submitted
                generation.put(Stats(len(generation.tokens), 0, 0, waited, 0.0, 0.0, "cancelled"))
            if cancelled and requests is self._waiting:
                self._send_places()

    def _send_places(self, only: Generation | None = None) -> None:
        """Tell those who wait their position; the lock is held."""
        backend = self.backend
        waits = predict_waits(backend.seconds_left(), backend.slots, backend.costs.answer_s, len(self._waiting))
        for position, (request, wait_s) in enumerate(zip(self._waiting, waits, strict=True), start=1):
            if only is None or request.generation is only:
                request.generation.put(Place(position, wait_s))

    def _end_all(self, error: EdgedeskError) -> None:
        with self._changed:
            self._closing = True
            requests = [*self._waiting, *self._background]
            self._waiting.clear()
            self._background.clear()
        for request in requests:
            request.generation.put(error)
        self.backend.fail(error)


def _as_engine_error(error: Exception) -> EdgedeskError:
    return error if isinstance(error, EdgedeskError) else ModelError(f"the engine failed: {error!r}")
