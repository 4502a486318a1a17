"""One step after another: the requests at work, the memory they share, and the model that computes them together.

Promises: a request that was admitted has all the room it can need; one that ends, fails or is cancelled leaves what was
read of it for the next to go on from; a failed step fails what was in it and nothing later. Belongs to the engine's
thread. Knows nothing of the queue.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.engine.generation import Finish, Generation, Piece, Stats
from runtime.engine.model import Model, Row
from runtime.engine.plan import Job, Pace, Slice, plan_step
from runtime.engine.sampling import Sampler, Scored
from runtime.engine.sequences import Held, Sequences
from runtime.engine.stops import StopStrings
from runtime.engine.vocab import TextStream
from runtime.errors import EdgedeskError, ModelError


@dataclass
class Running:
    """A request at work."""

    generation: Generation
    sampler: Sampler
    held: Held
    left: list[int]
    """Prompt tokens still to be read."""
    reused: int
    limit: int
    """Tokens it may write."""
    stops: StopStrings
    started: float
    stream: TextStream = field(default_factory=TextStream)
    next: int = -1
    """The token chosen last, which is not read yet."""
    written: int = 0
    first: float = 0.0
    last: float = 0.0
    passed: int = 0
    scored: list[Scored] = field(default_factory=list)
    finish: Finish | None = None

    @property
    def still_needs(self) -> int:
        """Cells it may yet take."""
        return len(self.left) + self.limit - self.written


class Runner:
    """At most `slots` requests at a time."""

    def __init__(self, model: Model, *, slots: int, sequences: int) -> None:
        self.model = model
        self.slots = slots
        self.pace = Pace(model.batch_tokens)
        self.running: list[Running] = []
        self._limit = sequences
        self._sequences = Sequences(model.cells, sequences)

    def admit(self, generation: Generation, sampler: Sampler) -> bool:
        """Begin a request; False while there is no slot or no room for it."""
        if len(self.running) >= self.slots:
            return False
        tokens, params = generation.tokens, generation.params
        limit = min(params.max_tokens, self.model.context_tokens - len(tokens))
        held = self._place(params.adapter, tokens, len(tokens) + limit)
        if held is None:
            return False
        reused = len(held.tokens)
        stops = StopStrings(params.stop_strings)
        run = Running(generation, sampler, held, tokens[reused:], reused, limit, stops, time.monotonic())
        self.running.append(run)
        return True

    def seconds_left(self) -> list[float]:
        """What each request at work will still take, as far as is known."""
        return [self.pace.seconds_left(to_read=len(run.left), to_write=run.limit - run.written) for run in self.running]

    def step(self) -> None:
        """End what is no longer wanted, then compute one batch. An error ends all that was at work."""
        for run in list(self.running):
            if run.generation.cancelled:
                self._end(run, "cancelled")
            elif run.generation.overdue:
                self._end(run, "deadline")
        jobs = [
            Job(number, len(run.left), passed=run.passed, adapter=run.generation.params.adapter)
            for number, run in enumerate(self.running)
        ]
        writing = any(not job.left for job in jobs)
        plan = plan_step(jobs, read_tokens=self.pace.read_tokens(writing=writing), batch_tokens=self.model.batch_tokens)
        if plan:
            try:
                self._compute([(self.running[one.id], one) for one in plan])
            except Exception as error:
                # Whoever waits for an answer must hear of it, whatever it was.
                self.fail(
                    error
                    if isinstance(error, EdgedeskError)
                    else ModelError(f"the engine failed: {error}", where=str(self.model.path))
                )

    def fail(self, error: EdgedeskError) -> None:
        """End everything at work with an error; nothing stays in memory."""
        for run in self.running:
            run.sampler.close()
            run.generation.put(error)
        self.running.clear()
        self.model.clear()
        self._sequences = Sequences(self.model.cells, self._limit)

    def _compute(self, work: Sequence[tuple[Running, Slice]]) -> None:
        rows: list[Row] = []
        ends = []
        for run, one in work:
            tokens = run.left[: one.count] if run.left else [run.next]
            wanted = one.count == len(run.left) or not run.left
            at, sequence = run.held.position, run.held.id
            rows += [Row(token, at + place, sequence, False) for place, token in enumerate(tokens)]
            if wanted:
                rows[-1] = rows[-1]._replace(logits=True)
            self._sequences.grow(run.held, tokens)
            ends.append(len(rows) - 1 if wanted else None)
        began = time.monotonic()
        self.model.use(work[0][0].generation.params.adapter)
        self.model.decode(rows)
        reading = sum(one.count for run, one in work if run.left)
        self.pace.stepped(writing=len(rows) - reading, reading=reading, seconds=time.monotonic() - began)
        for run in self.running:
            run.passed += 1
        for (run, one), end in zip(work, ends, strict=True):
            run.passed = 0
            del run.left[: one.count]
            if end is not None:
                self._write(run, end)

    def _write(self, run: Running, row: int) -> None:
        """Choose the token behind a row of the batch and show it."""
        token = run.sampler.next(self.model.context, row)
        run.next, run.last = token, time.monotonic()
        run.first = run.first or run.last
        vocab, params = self.model.vocab, run.generation.params
        if token in params.stop or vocab.ends(token):
            self._end(run, "stop")
            return
        run.written += 1
        if params.logprobs is not None:
            run.scored.append(self._score(token, self.model.logits(row), params.logprobs))
        self._show(run, run.stops.feed(run.stream.feed(vocab.piece(token))))
        if run.stops.found:
            self._end(run, "stop")
        elif run.written >= run.limit:
            self._end(run, "length")

    def _show(self, run: Running, text: str) -> None:
        if text:
            run.generation.put(Piece(text, tuple(run.scored)))
            run.scored.clear()

    def _score(self, token: int, logits: NDArray[np.float32], top: int) -> Scored:
        piece = self.model.vocab.piece
        scores = logits - logits.max()
        scores -= np.log(np.exp(scores).sum())
        best = np.argsort(-scores, kind="stable")[:top]
        return Scored(
            token, piece(token), float(scores[token]), tuple((int(n), piece(int(n)), float(scores[n])) for n in best)
        )

    def _end(self, run: Running, finish: Finish) -> None:
        self._show(run, run.stops.rest())
        if run.scored:
            run.generation.put(Piece("", tuple(run.scored)))
        run.sampler.close()
        run.held.busy = False
        self._sequences.touch(run.held)
        if not self.model.shares_beginnings:
            self._forget(run.held)
        self.running.remove(run)
        now, asked = time.monotonic(), run.generation.submitted
        self.pace.answered(now - run.started)
        run.generation.put(
            Stats(
                prompt_tokens=len(run.generation.tokens),
                reused_tokens=run.reused,
                answer_tokens=run.written,
                queued_s=run.started - asked,
                ttft_s=run.first - asked if run.first else 0.0,
                tokens_per_s=(run.written - 1) / (run.last - run.first) if run.written > 1 else 0.0,
                finish=finish,
            )
        )

    def _place(self, key: Hashable, tokens: Sequence[int], cells: int) -> Held | None:
        """A sequence that holds what is in memory of these tokens, with room for the rest of `cells`; or None.

        The last token is always read again: its logits are needed.
        """
        source, shared = self._sequences.longest(key, tokens) if self.model.shares_beginnings else (None, 0)
        shared = min(shared, len(tokens) - 1)
        need = cells - shared
        was_busy = source is not None and source.busy
        if source is not None:
            source.busy = True  # or it would be forgotten to make room for what shares it
        try:
            found = self._make_room(need)
            if not found and source is not None and not was_busy:
                self.model.remove(source.id, source.start + shared)
                self._sequences.cut(source, shared)
                found = self._make_room(need)
        finally:
            if source is not None:
                source.busy = was_busy
        if not found:
            return None
        held = self._sequences.open(key)
        if source is not None and shared:
            self.model.copy(source.id, held.id, source.start + shared)
            self._sequences.share(source, held, shared)
            self._sequences.touch(source)
        return held

    def _make_room(self, cells: int) -> bool:
        """Forget what is idle until a sequence and so many cells are free."""
        promised = sum(run.still_needs for run in self.running)
        while self._sequences.full or self.model.cells - self._sequences.used - promised < cells:
            spare = self._sequences.spare()
            if spare is None:
                return False
            self._forget(spare)
        return True

    def _forget(self, held: Held) -> None:
        self.model.remove(held.id)
        self._sequences.forget(held)
