"""One answer in the making, between whoever asked and the engine's thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from runtime.engine.core.sampling_params import SamplingParams, Scored
from runtime.errors import EdgedeskError
from runtime.prompting.prompt_tokens import Layout

Finish = Literal["stop", "length", "cancelled", "deadline"]


class Flag(Protocol):
    """What `threading.Event` offers of itself to the engine."""

    def is_set(self) -> bool:
        """Whether the request is no longer wanted."""
        ...


@dataclass(frozen=True)
class TextPiece:
    """Some characters of the answer."""

    text: str
    scored: tuple[Scored, ...] = ()
    """Its tokens' log-probabilities, if they were asked for; the text may then be empty."""


@dataclass(frozen=True)
class Place:
    """Place in the line, 1 for the next; 0 when its own turn has come."""

    position: int
    wait_s: float = 0.0
    """Predicted seconds until its turn; 0 before the engine has answered anything."""


@dataclass(frozen=True)
class Progress:
    """How much of the prompt is read, what was in memory included."""

    done: int
    total: int
    """Tokens."""


Update = TextPiece | Place | Progress


@dataclass(frozen=True)
class Stats:
    """What an answer took."""

    prompt_tokens: int
    reused_tokens: int
    """Of these, already in memory."""
    answer_tokens: int
    queued_s: float
    ttft_s: float
    """From the request to the first token, waiting included; 0 when it was cancelled before."""
    tokens_per_s: float
    """After the first token; 0 with fewer than two."""
    finish: Finish
    layout: Layout = "exact"
    """How the prompt was put together."""
    layout_reason: str = ""
    """Why it was read `exact` though another layout was wanted."""


class Generation:
    """One answer: iterate for its `TextPiece`s; `updates()` also gives places in the queue and reading progress."""

    def __init__(
        self, tokens: Sequence[int], params: SamplingParams, cancel: Flag, *, deadline_s: float | None = None
    ) -> None:
        self.tokens = list(tokens)
        self.params = params
        self.submitted = time.monotonic()
        self.deadline = None if deadline_s is None else self.submitted + deadline_s
        """On `time.monotonic`."""
        self.progress = Progress(0, len(self.tokens))
        """The newest, for whoever does not iterate."""
        self.ended = False
        """Whether the engine has done with it, well or not."""
        self._stopped = threading.Event()
        self._flag = cancel
        self._out: queue.SimpleQueue[Update | Stats | EdgedeskError] = queue.SimpleQueue()
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

    @property
    def overdue(self) -> bool:
        """Whether its deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def close(self) -> None:
        """Cancel it; does not wait. Harmless when it has ended."""
        self._stopped.set()

    def updates(self) -> Iterator[Update]:
        """Pieces, places and progress as they come, none after a cancel; raises what went wrong in the engine."""
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

    def __iter__(self) -> Iterator[TextPiece]:
        return (item for item in self.updates() if isinstance(item, TextPiece))

    def put(self, item: Update | Stats | EdgedeskError) -> None:
        """The engine's side: hand something to whoever iterates. `Stats` or an error ends it."""
        if isinstance(item, Progress):
            self.progress = item
        elif isinstance(item, Stats | EdgedeskError):
            self.ended = True
        self._out.put(item)
