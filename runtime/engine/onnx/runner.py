"""One answer after the other in onnxruntime: a slice of a prompt or a token a step, as the scheduler asks.

Promises: cancelled within a token, or within a slice of the prompt; what was read ahead, or for the answer before, is
used where the next prompt has the same beginning. Belongs to the scheduler's thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from runtime.engine.core.batch_planner import StepCosts
from runtime.engine.core.generation import Finish
from runtime.engine.core.request import ActiveRequest, Request
from runtime.engine.onnx.model import OnnxModel
from runtime.engine.onnx.sampler import NumpySampler
from runtime.engine.onnx.vocab import JsonVocabulary
from runtime.errors import EdgedeskError

SLICE_TOKENS = 64
"""Most tokens of a prompt in one step: what a cancel may have to wait for."""


@dataclass(eq=False, kw_only=True)
class ActiveAnswer(ActiveRequest):
    """An active request with what chooses its tokens."""

    sampler: NumpySampler


class OnnxRunner:
    """At most one request at a time."""

    def __init__(self, model: OnnxModel, vocab: JsonVocabulary, *, context_tokens: int, layout_reason: str) -> None:
        """`layout_reason`: why prompts are read `exact`, for the answers' statistics; empty when that was wanted."""
        self.slots = 1
        self.costs = StepCosts(SLICE_TOKENS)
        self.completed = 0
        self._active: ActiveAnswer | None = None
        self._model = model
        self._vocab = vocab
        self._context_tokens = context_tokens
        self._layout_reason = layout_reason
        self._prefetched_for: str | None = None
        """The conversation for which what is in memory was read ahead."""

    @property
    def busy(self) -> bool:
        """Whether a request is active."""
        return self._active is not None

    @property
    def answering(self) -> int:
        """Active requests for which a reader waits."""
        return int(self._active is not None and not self._active.request.background)

    def admit(self, request: Request) -> bool:
        """Begin a request; background work is ended for a question."""
        if (active := self._active) is not None:
            if not active.request.background or request.background:
                return False
            self._end(active, "cancelled")
        tokens, params = request.generation.tokens, request.generation.params
        reused = self._model.keep(tokens)
        max_tokens = 0 if request.background else min(params.max_tokens, self._context_tokens - len(tokens))
        self._active = ActiveAnswer(
            request,
            max_tokens,
            tokens[reused:],
            reused,
            layout_reason=self._layout_reason,
            sampler=NumpySampler(params),
        )
        self._prefetched_for = request.conversation if request.background else None
        return True

    def step(self) -> None:
        """End what is no longer wanted, then compute a slice or a token. After an error `fail` has to be called."""
        if (active := self._active) is None:
            return
        if active.request.generation.cancelled:
            self._end(active, "cancelled")
        else:
            self._compute(active)

    def forget(self, conversation: str) -> None:
        """Drop what was read ahead for a conversation."""
        active = self._active
        if active is not None and active.request.background and active.request.conversation == conversation:
            self._end(active, "cancelled")
        if self._prefetched_for == conversation:
            self._prefetched_for = None
            self._model.clear()

    def seconds_left(self) -> list[float]:
        """Seconds that the active answer will still take, as far as is known."""
        active = self._active
        if active is None or active.request.background:
            return []
        to_write = active.max_tokens - active.written
        return [self.costs.seconds_left(to_read=active.tokens_to_read, to_write=to_write)]

    def fail(self, error: EdgedeskError) -> None:
        """End what is active with an error, and forget everything."""
        if self._active is not None:
            self._active.request.generation.put(error)
        self._active = None
        self._model.clear()

    def _compute(self, active: ActiveAnswer) -> None:
        reading = bool(active.unread)
        if reading:
            count = self.costs.read_tokens(writing=False, waited_for=not active.request.background)
            tokens, active.unread = active.unread[:count], active.unread[count:]
        else:
            tokens = [active.next_token]
        began = time.monotonic()
        logits = self._model.read(tokens)
        self.costs.record_step(guesses=0, reading=len(tokens) if reading else 0, seconds=time.monotonic() - began)
        if reading:
            active.report_progress()
        if active.unread:
            return
        if active.request.background:
            self._end(active, "stop")
        elif finish := active.accept(active.sampler.next(logits), self._vocab):
            self._end(active, finish)

    def _end(self, active: ActiveAnswer, finish: Finish) -> None:
        self._active = None
        seconds = active.finish(finish)
        if not active.request.background:
            self.costs.record_answer(seconds)
            self.completed += finish != "cancelled"
