"""A request of the engine, and what is known of it while it is at work. Knows nothing of llama.cpp's calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.engine.articles import Plan
from runtime.engine.generation import Generation, Progress
from runtime.engine.lookup import Lookup
from runtime.engine.parts import Layout, Prompt
from runtime.engine.sampling import Sampler, Scored
from runtime.engine.sequences import Held
from runtime.engine.stops import StopStrings
from runtime.engine.vocab import TextStream

TOLD_S = 0.1
"""Whoever waits hears not more often than this how much of the prompt is read."""

Task = Literal["answer", "compile", "ahead"]


@dataclass(frozen=True)
class Request:
    """What is asked of the engine."""

    generation: Generation
    prompt: Prompt
    task: Task = "answer"
    sampler: Sampler | None = None
    """None where nothing is written."""
    conversation: str | None = None
    """Whose question it is; what was read ahead for it is dropped when its question comes."""

    @property
    def ahead(self) -> bool:
        """Whether nobody waits for it."""
        return self.task != "answer"

    @property
    def adapter(self) -> str:
        """Its LoRA adapter."""
        return self.generation.params.adapter


@dataclass(eq=False)
class Running:
    """A request at work."""

    request: Request
    limit: int
    """Tokens it may write."""
    held: Held | None
    """Its sequence; none until its articles are there."""
    left: list[int]
    """Prompt tokens still to be read, besides the articles."""
    reused: int = 0
    plan: Plan | None = None
    """Its articles, until they are in its sequence."""
    copies: int = 0
    """Cells that putting them together will take."""
    layout: Layout = "exact"
    reason: str = ""
    stops: StopStrings = field(default_factory=lambda: StopStrings(()))
    stream: TextStream = field(default_factory=TextStream)
    started: float = field(default_factory=time.monotonic)
    lookup: Lookup | None = None
    guesses: list[int] = field(default_factory=list)
    """Behind `next`, for the step to come."""
    next: int = -1
    """The token chosen last, which is not read yet."""
    written: int = 0
    first: float = 0.0
    last: float = 0.0
    passed: int = 0
    told: float = 0.0
    """When its reader last heard how much of the prompt is read."""
    scored: list[Scored] = field(default_factory=list)

    @property
    def to_read(self) -> int:
        """Tokens, those of its articles included."""
        return len(self.left) + sum(len(build.left) for build in (self.plan.builds if self.plan else ()))

    @property
    def promised(self) -> int:
        """Cells it may yet take, besides those of articles being read."""
        return self.copies + len(self.left) + self.limit - self.written

    def tell_reading(self) -> None:
        """Say how much of the prompt is read: at its beginning and end, and every `TOLD_S` in between."""
        now, generation = time.monotonic(), self.request.generation
        if not self.to_read or now - self.told >= TOLD_S:
            self.told = now
            total = len(generation.tokens)
            generation.put(Progress(total - self.to_read, total))


def score(token: int, logits: NDArray[np.float32], top: int, piece: Callable[[int], bytes]) -> Scored:
    """A token's log-probability and those of the `top` likeliest, from a row of logits."""
    scores = logits - logits.max()
    scores -= np.log(np.exp(scores).sum())
    best = np.argsort(-scores, kind="stable")[:top]
    likeliest = tuple((int(one), piece(int(one)), float(scores[one])) for one in best)
    return Scored(token, piece(token), float(scores[token]), likeliest)
