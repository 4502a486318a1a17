"""The engine's thread and its queue: requests in, pieces of text out, one answer at a time.

Promises: one thread alone touches the context; a request past the queue's limit is refused at once; a cancelled one
gives up its place within a token, or within a batch while its prompt is read; an answer that has begun ends with
`stats` or raises, it never hangs. A request names no sequence, so several may one day be answered together behind the
same calls. Knows nothing of prompts and articles.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from runtime.engine.model import Model, SamplingParams
from runtime.engine.vocab import TextStream, Vocab
from runtime.errors import EdgedeskError, InputError, ModelError, UnavailableError

__all__ = ["Engine", "Flag", "Generation", "Piece", "Place", "SamplingParams", "Stats"]

BATCH_TOKENS = 128
"""Tokens read in one step: the most a cancel may have to wait for."""
QUEUE_LIMIT = 16

Finish = Literal["stop", "length", "cancelled"]


class Flag(Protocol):
    """What `threading.Event` offers of itself to the engine."""

    def is_set(self) -> bool:
        """Whether the request is no longer wanted."""
        ...


@dataclass(frozen=True)
class Piece:
    """Some characters of the answer."""

    text: str


@dataclass(frozen=True)
class Place:
    """Requests before this one, the running one included; 0 when its own turn has come."""

    position: int


@dataclass(frozen=True)
class Stats:
    """What an answer took."""

    prompt_tokens: int
    reused_tokens: int
    """Of these, already in memory from the prompt before."""
    answer_tokens: int
    queued_s: float
    ttft_s: float
    """From the request to the first token, waiting included; 0 when it was cancelled before."""
    tokens_per_s: float
    """After the first token; 0 with fewer than two."""
    finish: Finish


class Generation:
    """One answer in the making: iterate for its `Piece`s, or `updates()` for its places in the queue as well."""

    def __init__(self, tokens: Sequence[int], params: SamplingParams, cancel: Flag) -> None:
        self.tokens = list(tokens)
        self.params = params
        self.submitted = time.monotonic()
        self._stopped = threading.Event()
        self._flag = cancel
        self._out: queue.SimpleQueue[Piece | Place | Stats | EdgedeskError] = queue.SimpleQueue()
        self._stats: Stats | None = None
        self._error: EdgedeskError | None = None

    @property
    def stats(self) -> Stats:
        """What it took; only once the iteration has ended."""
        if self._stats is None:
            raise RuntimeError("the answer has not ended")
        return self._stats

    @property
    def cancelled(self) -> bool:
        """Whether it is no longer wanted."""
        return self._stopped.is_set() or self._flag.is_set()

    def close(self) -> None:
        """Cancel it; does not wait. Harmless when it has ended."""
        self._stopped.set()

    def updates(self) -> Iterator[Piece | Place]:
        """Pieces and places as they come, none after a cancel; raises what went wrong in the engine."""
        while self._stats is None:
            if self._error is not None:
                raise self._error
            item = self._out.get()
            if isinstance(item, Stats):
                self._stats = item
            elif isinstance(item, EdgedeskError):
                self._error = item
            elif not self.cancelled:  # a reader slower than the engine has a backlog nobody wants any more
                yield item

    def __iter__(self) -> Iterator[Piece]:
        return (item for item in self.updates() if isinstance(item, Piece))

    def put(self, item: Piece | Place | Stats | EdgedeskError) -> None:
        """The engine's side: hand something to whoever iterates. `Stats` or an error ends it."""
        self._out.put(item)


class Engine:
    """Loads a model and answers requests until it is closed."""

    def __init__(
        self,
        model_path: Path,
        *,
        context_tokens: int,
        threads: int,
        queue_limit: int = QUEUE_LIMIT,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        self._model = Model(model_path, context_tokens=context_tokens, threads=threads, batch_tokens=batch_tokens)
        self.queue_limit = queue_limit
        self._waiting: deque[Generation] = deque()
        self._running: Generation | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def vocab(self) -> Vocab:
        """The model's vocabulary, for laying out prompts."""
        return self._model.vocab

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together; less than asked for when the model was trained on less."""
        return self._model.context_tokens

    def generate(self, tokens: Sequence[int], params: SamplingParams, cancel: Flag) -> Generation:
        """Queue a request; returns at once.

        Raises `InputError` with the counts when the prompt does not fit, `UnavailableError` when the queue is full or
        the engine is closing.
        """
        if not tokens:
            raise InputError("an empty prompt")
        if len(tokens) >= self.context_tokens:
            raise InputError(
                f"the prompt has {len(tokens)} tokens, the context holds {self.context_tokens} with the answer",
                hint="ask a shorter question",
            )
        generation = Generation(tokens, params, cancel)
        with self._changed:
            if self._closing:
                raise UnavailableError("the engine is closing")
            self._drop_cancelled()
            if len(self._waiting) >= self.queue_limit:
                raise UnavailableError(
                    f"{len(self._waiting)} requests are waiting already", hint="ask again in a moment"
                )
            self._waiting.append(generation)
            generation.put(Place(len(self._waiting) - 1 + (self._running is not None)))
            self._changed.notify()
        return generation

    def close(self) -> None:
        """Refuse new requests, end the ones in work with `UnavailableError`, free the model."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._model.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while generation := self._next():
            try:
                generation.put(self._answer(generation))
            except EdgedeskError as error:
                generation.put(error)
            except Exception as error:
                # Whoever waits for the answer must hear of it, whatever it was.
                generation.put(ModelError(f"the engine failed: {error}", where=str(self._model.path)))
        with self._changed:
            for waiting in self._waiting:
                waiting.put(UnavailableError("the engine is closing"))
            self._waiting.clear()

    def _next(self) -> Generation | None:
        with self._changed:
            self._running = None
            self._drop_cancelled()
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            self._running = self._waiting.popleft()
            self._running.put(Place(0))
            for position, waiting in enumerate(self._waiting, start=1):
                waiting.put(Place(position))
            return self._running

    def _drop_cancelled(self) -> None:
        """Free the places of waiting requests nobody wants any more; the lock is held."""
        kept = [generation for generation in self._waiting if not generation.cancelled]
        if len(kept) < len(self._waiting):
            gone = [generation for generation in self._waiting if generation.cancelled]
            self._waiting = deque(kept)
            for generation in gone:
                waited = time.monotonic() - generation.submitted
                generation.put(Stats(len(generation.tokens), 0, 0, waited, 0.0, 0.0, "cancelled"))
            for position, generation in enumerate(kept, start=1):
                generation.put(Place(position))

    def _unwanted(self, generation: Generation) -> bool:
        """Between two steps: look after the queue, and say whether to stop."""
        with self._changed:
            self._drop_cancelled()
            if self._closing:
                raise UnavailableError("the engine is closing")
        return generation.cancelled

    def _answer(self, generation: Generation) -> Stats:
        started = time.monotonic()
        tokens, params = generation.tokens, generation.params
        limit = min(params.max_tokens, self.context_tokens - len(tokens))
        written = 0
        first = last = 0.0
        finish: Finish = "length"
        stream = TextStream()
        if generation.cancelled:
            return Stats(len(tokens), 0, 0, started - generation.submitted, 0.0, 0.0, "cancelled")
        reused = self._model.reuse(tokens)
        sampler = self._model.sampler(params)
        try:
            for _ in self._model.read(tokens[reused:]):
                if self._unwanted(generation):
                    finish = "cancelled"
                    break
            while finish != "cancelled" and written < limit:
                token = sampler.next()
                last = time.monotonic()
                first = first or last
                if token in params.stop or self.vocab.ends(token):
                    finish = "stop"
                    break
                written += 1
                if text := stream.feed(self.vocab.piece(token)):
                    generation.put(Piece(text))
                if self._unwanted(generation):
                    finish = "cancelled"
                elif written < limit:
                    self._model.step([token])
        finally:
            sampler.close()
        return Stats(
            prompt_tokens=len(tokens),
            reused_tokens=reused,
            answer_tokens=written,
            queued_s=started - generation.submitted,
            ttft_s=first - generation.submitted if first else 0.0,
            tokens_per_s=(written - 1) / (last - first) if written > 1 and last > first else 0.0,
            finish=finish,
        )
