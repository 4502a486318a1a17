"""One answer after the other in onnxruntime: a slice of a prompt or a token a step, as the scheduler asks.

Promises: cancelled within a token, or within a slice of the prompt; what was read ahead, or for the answer before, is
used where the next prompt begins alike. Belongs to the line's thread.
"""

from __future__ import annotations

import time

from runtime.engine.core.batch_planner import Pace
from runtime.engine.core.generation import Finish
from runtime.engine.core.request import Request, Running
from runtime.engine.core.stop_strings import StopStrings
from runtime.engine.onnx.model import OnnxModel
from runtime.engine.onnx.sampler import NumpySampler
from runtime.engine.onnx.vocab import JsonVocabulary
from runtime.errors import EdgedeskError, ModelError

SLICE_TOKENS = 64
"""Of a prompt, in one step: the most a cancel may have to wait for."""


class OnnxRunner:
    """At most one request at a time."""

    def __init__(self, model: OnnxModel, words: JsonVocabulary, *, context_tokens: int, reason: str) -> None:
        """`reason`: why prompts are read `exact`, for the answers' statistics; empty when that was wanted."""
        self.slots = 1
        self.pace = Pace(SLICE_TOKENS)
        self.running: list[Running] = []
        self._model = model
        self._words = words
        self._context_tokens = context_tokens
        self._reason = reason
        self._ahead: str | None = None
        """The conversation that what is in memory was read ahead for."""

    @property
    def answering(self) -> int:
        """Answers at work."""
        return sum(not run.request.ahead for run in self.running)

    def admit(self, request: Request) -> bool:
        """Begin a request; what nobody waits for gives way to it."""
        for run in list(self.running):
            if not run.request.ahead or request.ahead:
                return False
            self._end(run, "cancelled")
        tokens = request.generation.tokens
        reused = self._model.keep(tokens)
        limit = min(request.generation.params.max_tokens, self._context_tokens - len(tokens)) if request.sampler else 0
        run = Running(request, limit, None, tokens[reused:], reused, reason=self._reason)
        run.stops = StopStrings(request.generation.params.stop_strings)
        self._ahead = request.conversation if request.ahead else None
        self.running.append(run)
        return True

    def step(self) -> None:
        """End what is no longer wanted, then compute a slice or a token. An error ends what was at work."""
        for run in list(self.running):
            generation = run.request.generation
            if generation.cancelled or generation.overdue:
                self._end(run, "cancelled" if generation.cancelled else "deadline")
        try:
            for run in list(self.running):
                self._compute(run)
        except EdgedeskError as error:
            self.fail(error)
        except Exception as error:
            # Whoever waits for an answer must hear of it, whatever it was.
            self.fail(ModelError(f"the engine failed: {error!r}", where=str(self._model.path)))

    def forget(self, conversation: str) -> None:
        """What was read ahead for a conversation is not wanted."""
        for run in list(self.running):
            if run.request.ahead and run.request.conversation == conversation:
                self._end(run, "cancelled")
        if self._ahead == conversation:
            self._ahead = None
            self._model.clear()

    def seconds_left(self) -> list[float]:
        """What the answer at work will still take, as far as is known."""
        return [
            self.pace.seconds_left(to_read=run.to_read, to_write=run.limit - run.written)
            for run in self.running
            if not run.request.ahead
        ]

    def fail(self, error: EdgedeskError) -> None:
        """End what is at work with an error."""
        for run in self.running:
            run.request.generation.put(error)
        self.running.clear()
        self._model.clear()

    def _compute(self, run: Running) -> None:
        reading = len(run.left)
        if reading:
            count = self.pace.read_tokens(writing=False, waited_for=not run.request.ahead)
            tokens, run.left = run.left[:count], run.left[count:]
        else:
            tokens = [run.next]
        began = time.monotonic()
        logits = self._model.read(tokens)
        self.pace.stepped(
            guesses=0,
            reading=len(tokens) if reading else 0,
            seconds=time.monotonic() - began,
        )
        if reading:
            run.tell_reading()
        if run.left:
            return
        sampler = run.request.sampler
        if sampler is None:
            self._end(run, "stop")
            return
        assert isinstance(sampler, NumpySampler)
        if finish := run.take(sampler.next(logits), self._words, lambda: logits):
            self._end(run, finish)

    def _end(self, run: Running, finish: Finish) -> None:
        self.running.remove(run)
        seconds = run.end(finish)
        if not run.request.ahead:
            self.pace.answered(seconds)
