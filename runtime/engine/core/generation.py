"""One answer in the making, between the thread that asked and the engine's thread.

Promises: the asking thread never waits for an engine that will not speak again once it has cancelled; whatever the
engine puts in after that is dropped.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from runtime.engine.core.sampling_params import SamplingParams
from runtime.errors import EdgedeskError
from runtime.prompting.prompt_tokens import Layout

Finish = Literal["stop", "length", "cancelled"]

POLL_S = 0.1
"""How often a waiting reader looks at its cancel flag."""
CANCEL_GRACE_S = 5.0
"""How long a cancelled reader waits for the engine's own last word, which has the counts.

A step takes two seconds at most on a healthy machine. An engine that hangs never answers, and the reader's place in the
server must come free all the same.
"""


class Flag(Protocol):
    """The part of `threading.Event` that the engine needs."""

    def is_set(self) -> bool:
        """Whether the request is no longer wanted."""
        ...


@dataclass(frozen=True)
class TextPiece:
    """Some characters of the answer."""

    text: str


@dataclass(frozen=True)
class Place:
    """Position in the queue, 1 for the next; 0 when its own turn has come."""

    position: int
    wait_s: float = 0.0
    """Predicted seconds until its turn; 0 before the engine has answered anything."""


@dataclass(frozen=True)
class Progress:
    """How much of the prompt is read, including what was in memory already."""

    done: int
    total: int
    """Tokens."""


Update = TextPiece | Place | Progress


NO_ROOM = "the disk for compiled articles is full"
"""Why an article was not compiled ahead (`Stats.layout_reason`)."""


@dataclass(frozen=True)
class Stats:
    """What an answer took."""

    prompt_tokens: int
    reused_tokens: int
    """Of these, already in memory."""
    answer_tokens: int
    queued_s: float
    ttft_s: float
    """Seconds from the request to the first token, waiting included; 0 when it was cancelled before."""
    tokens_per_s: float
    """After the first token; 0 with fewer than two."""
    finish: Finish
    layout: Layout = "exact"
    """How the prompt was put together."""
    layout_reason: str = ""
    """Why it was read `exact` though another layout was wanted."""
    ahead_tokens: int = 0
    """Of the answer's tokens, those that were written before it was asked for."""
    processor_s: float = 0.0
    """Processor seconds of the engine's steps, the request's share by rows; without what was done ahead for it."""


class Generation:
    """One answer: iterate for its `TextPiece`s; `updates()` also gives places in the queue and reading progress."""

    def __init__(
        self, tokens: Sequence[int], params: SamplingParams, cancel: Flag, *, cancel_grace_s: float = CANCEL_GRACE_S
    ) -> None:
        self.tokens = list(tokens)
        self.params = params
        self.submitted = time.monotonic()
        self.progress = Progress(0, len(self.tokens))
        """The newest, for a caller that does not iterate."""
        self.ended = False
        """Whether the engine has finished with it, well or not."""
        self._closed = threading.Event()
        self._flag = cancel
        self._cancel_grace_s = cancel_grace_s
        self._out: queue.SimpleQueue[Update | Stats | EdgedeskError] = queue.SimpleQueue()
        self._stats: Stats | None = None
        self._error: EdgedeskError | None = None

    @property
    def stats(self) -> Stats:
        """What it took; `RuntimeError` before the iteration has ended."""
        if self._stats is None:
            raise RuntimeError("the answer has not ended")
        return self._stats

    @property
    def cancelled(self) -> bool:
        """Whether it is no longer wanted."""
        return self._closed.is_set() or self._flag.is_set()

    def close(self) -> None:
        """Cancel it; does not wait. Harmless when it has ended."""
        self._closed.set()

    def updates(self) -> Iterator[Update]:
        """Pieces, places and progress as they come, none after a cancel; raises what went wrong in the engine."""
        while self._stats is None:
            if self._error is not None:
                raise self._error
            item = self._next_item()
            if isinstance(item, Stats):
                self._stats = item
            elif isinstance(item, EdgedeskError):
                self._error = item
            elif not self.cancelled:  # a reader slower than the engine has a backlog that is not wanted any more
                yield item

    def __iter__(self) -> Iterator[TextPiece]:
        return (item for item in self.updates() if isinstance(item, TextPiece))

    def put(self, item: Update | Stats | EdgedeskError) -> None:
        """Called by the engine: hand an item to the reader. `Stats` or an error ends the answer."""
        if isinstance(item, Progress):
            self.progress = item
        elif isinstance(item, Stats | EdgedeskError):
            self.ended = True
        self._out.put(item)

    def _next_item(self) -> Update | Stats | EdgedeskError:
        """The engine's next item, or made-up `Stats` of a cancelled answer whose engine stays silent."""
        cancelled_at: float | None = None
        while True:
            try:
                return self._out.get(timeout=POLL_S)
            except queue.Empty:
                now = time.monotonic()
                if not self.cancelled:
                    continue
                cancelled_at = cancelled_at or now
                if now - cancelled_at >= self._cancel_grace_s:
                    waited = now - self.submitted
                    return Stats(len(self.tokens), 0, 0, waited, 0.0, 0.0, "cancelled")
