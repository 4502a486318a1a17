"""A request of the engine, and what is known of it while it is at work. Knows nothing of llama.cpp's calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.composition import Composition
from runtime.engine.core.detokenizer import Detokenizer
from runtime.engine.core.generation import Finish, Generation, Progress, Stats, TextPiece
from runtime.engine.core.kv_ledger import SequenceLease
from runtime.engine.core.prompt_lookup import PromptLookup
from runtime.engine.core.sampling_params import NextToken, Scored
from runtime.engine.core.stop_strings import StopStrings
from runtime.prompting.prompt_tokens import Layout, Prompt

TOLD_S = 0.1
"""Whoever waits hears not more often than this how much of the prompt is read."""

Task = Literal["answer", "compile", "ahead"]


class TokenText(Protocol):
    """What a vocabulary says of its tokens."""

    def piece(self, token: int) -> bytes:
        """A token's bytes; control tokens have none."""
        ...

    def ends(self, token: int) -> bool:
        """Whether the model itself says that this token ends an answer."""
        ...


@dataclass(frozen=True)
class Request:
    """What is asked of the engine."""

    generation: Generation
    prompt: Prompt
    task: Task = "answer"
    sampler: NextToken | None = None
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
    held: SequenceLease | None
    """Its sequence; none until its articles are there."""
    left: list[int]
    """Prompt tokens still to be read, besides the articles."""
    reused: int = 0
    plan: Composition | None = None
    """Its articles, until they are in its sequence."""
    copies: int = 0
    """Cells that putting them together will take."""
    layout: Layout = "exact"
    reason: str = ""
    stops: StopStrings = field(default_factory=lambda: StopStrings(()))
    stream: Detokenizer = field(default_factory=Detokenizer)
    started: float = field(default_factory=time.monotonic)
    lookup: PromptLookup | None = None
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

    def take(self, token: int, words: TokenText, logits: Callable[[], NDArray[np.float32]]) -> Finish | None:
        """A token was chosen: show it; how the answer ends by it, if it does. `logits`: those it was chosen by."""
        params = self.request.generation.params
        self.next, self.last = token, time.monotonic()
        self.first = self.first or self.last
        if token in params.stop or words.ends(token):
            return "stop"
        self.written += 1
        if self.lookup is not None:
            self.lookup.add(token)
        if params.logprobs is not None:
            self.scored.append(score(token, logits(), params.logprobs, words.piece))
        self.show(self.stops.feed(self.stream.feed(words.piece(token))))
        if self.stops.found:
            return "stop"
        return "length" if self.written >= self.limit else None

    def show(self, text: str) -> None:
        """Hand text over, if there is any."""
        if text:
            self.request.generation.put(TextPiece(text, tuple(self.scored)))
            self.scored.clear()

    def end(self, finish: Finish) -> float:
        """Show what is left and say what it took; returns the seconds it was at work."""
        self.show(self.stops.rest())
        generation = self.request.generation
        if self.scored:
            generation.put(TextPiece("", tuple(self.scored)))
        generation.put(
            Stats(
                prompt_tokens=len(generation.tokens),
                reused_tokens=self.reused,
                answer_tokens=self.written,
                queued_s=self.started - generation.submitted,
                ttft_s=self.first - generation.submitted if self.first else 0.0,
                tokens_per_s=(self.written - 1) / (self.last - self.first) if self.written > 1 else 0.0,
                finish=finish,
                layout=self.layout,
                layout_reason=self.reason,
            )
        )
        return time.monotonic() - self.started

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
