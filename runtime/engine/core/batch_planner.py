"""What the next step of the engine computes: pure decisions over the requests at work.

    every writing request    its next token, and what is guessed behind it where nobody waits for anything to be read
    reading requests         a slice: the shortest first, whoever was passed over too often before all others
    reading ahead            only where nobody waits for anything to be read

Promises: a writer is in every batch of its adapter; nobody who waits is passed over more often than `PATIENCE` and the
number of requests together; a batch never exceeds its budget. Knows nothing of llama.cpp, threads and clocks.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 8
"""Steps a long prompt is passed over in favour of shorter ones."""
GAP_FACTOR = 2.5
"""A step beside which somebody writes may take this many times what it takes without reading."""
STEP_S = 1.0
"""A step in which nobody writes may take this long: whoever comes meanwhile, or cancels, waits for its end."""
BACKGROUND_STEP_S = 0.25
"""The same for a step in which only what nobody waits for is read."""
LEAST_SLICE = 3
"""Tokens read in a step whatever it costs, or reading would never end. With a writer's token they are four rows."""
ROWS = 16
"""llama.cpp multiplies this many rows at a time where there are as many: a 3B model's step of 16 rows takes no longer
than one of 12 (0.38 s on two cores), one of 45 as long as one of 48.
"""
LEAST_ALONE, LEAST_BACKGROUND = 64, ROWS
"""The same where nobody writes: every step pays for a pass over all weights, so a question is read in one."""
_WEIGHT = 0.2
"""Of the newest measurement in a running mean."""


@dataclass(frozen=True)
class Job:
    """A request as the planner sees it."""

    id: int
    left: int
    """Prompt tokens still to be read; 0: it is writing."""
    guesses: int = 0
    """Tokens guessed behind the next one, to be checked with it."""
    ahead: bool = False
    """Whether nobody waits for it yet."""
    passed: int = 0
    """Steps since it was last in a batch."""
    adapter: str = ""
    """A batch has one adapter."""


@dataclass(frozen=True)
class Slice:
    """What a request gets of the next batch: prompt tokens to read, or its next token and `count - 1` guesses."""

    id: int
    count: int


def plan_step(jobs: Sequence[Job], *, read_tokens: int, batch_tokens: int) -> tuple[Slice, ...]:
    """The next batch: at most `batch_tokens`, of which at most `read_tokens` are read.

    Needs `batch_tokens` above the number of writers. Empty only when there are no jobs.
    """
    wanted = [job for job in jobs if not job.ahead] or jobs
    if not wanted:
        return ()
    adapter = max(wanted, key=_urgency).adapter
    mine = [job for job in jobs if job.adapter == adapter]
    writers = [job for job in mine if not job.left]
    # One place is kept for reading, so that writers alone never fill the batch.
    spare = batch_tokens - len(writers) - 1
    waiting = [job for job in mine if job.left and not job.ahead]
    plan: list[Slice] = []
    for job in writers:
        # A row that is read for somebody is sure to be of use, a guess is not.
        guesses = 0 if waiting else min(job.guesses, max(0, spare))
        spare -= guesses
        plan.append(Slice(job.id, 1 + guesses))
    written = sum(one.count for one in plan)
    readers = waiting or [job for job in mine if job.left]
    room = _in_rows(written, min(batch_tokens - written, read_tokens), sum(job.left for job in readers))
    for job in sorted(readers, key=_reading_order):
        if room <= 0:
            break
        count = min(job.left, room)
        room -= count
        plan.append(Slice(job.id, count))
    return tuple(plan)


def _in_rows(written: int, room: int, wanted: int) -> int:
    """`room`, or a little less so that the rows of a batch come out even where more is wanted."""
    odd = (written + room) % ROWS
    return room - odd if wanted > room > odd and written + room > ROWS else room


def _urgency(job: Job) -> tuple[int, int]:
    return (job.passed if not job.left or job.passed >= PATIENCE else 0, job.passed)


def _reading_order(job: Job) -> tuple[int, int, int]:
    overdue = job.passed >= PATIENCE
    return (0, -job.passed, job.id) if overdue else (1, job.left, job.id)


class Pace:
    """Learns what steps cost, and says how much may be read in the next."""

    def __init__(self, batch_tokens: int) -> None:
        self.batch_tokens = batch_tokens
        self.write_s = 0.0
        """Of a step in which nothing is read; 0 before the first."""
        self.guess_s = 0.0
        """Of a guess checked, above what the step costs without it; 0 before the first."""
        self.read_s = 0.0
        """Of a token read, above what the step costs without it; 0 before the first."""
        self.answer_s = 0.0
        """Of an answer, from its turn to its end; 0 before the first."""

    def stepped(self, *, guesses: int, reading: int, seconds: float) -> None:
        """A step with a token of each writer, some guesses behind them, and some tokens read has taken so long."""
        # Writers' tokens and the pass over the weights are paid anyway, with or without writers.
        base = min(self.write_s, seconds / 2)
        if not reading and not guesses:
            self.write_s = _mean(self.write_s, seconds)
        elif not reading:
            self.guess_s = _mean(self.guess_s, (seconds - base) / guesses)
        elif not guesses:
            self.read_s = _mean(self.read_s, (seconds - base) / reading)

    @property
    def guess_cost(self) -> float:
        """Of checking one guess, as a share of a step without any; 0 before it is known."""
        return self.guess_s / self.write_s if self.write_s else 0.0

    def answered(self, seconds: float) -> None:
        """An answer has taken so long from its turn to its end."""
        self.answer_s = _mean(self.answer_s, seconds)

    def read_tokens(self, *, writing: bool, waited_for: bool = True) -> int:
        """How many tokens the next step may read; `waited_for`: whether anybody waits for what is read."""
        if not self.read_s:
            return LEAST_SLICE if writing else self.batch_tokens
        alone, least = (STEP_S, LEAST_ALONE) if waited_for else (BACKGROUND_STEP_S, LEAST_BACKGROUND)
        if writing:
            alone, least = (GAP_FACTOR - 1) * self.write_s, LEAST_SLICE
        return min(self.batch_tokens, max(least, int(alone / self.read_s)))

    def seconds_left(self, *, to_read: int, to_write: int) -> float:
        """What a request at work will still take, as far as is known."""
        writing = min(to_write * self.write_s, self.answer_s) if self.answer_s else to_write * self.write_s
        return to_read * self.read_s + writing


def predict_waits(left_s: Sequence[float], slots: int, answer_s: float, waiting: int) -> list[float]:
    """Seconds until each of `waiting` requests has its turn: those at work take `left_s`, later ones `answer_s`."""
    ends = [*sorted(left_s), *[0.0] * (slots - len(left_s))]
    heapq.heapify(ends)
    return [heapq.heappushpop(ends, ends[0] + answer_s) for _ in range(waiting)]


def _mean(old: float, new: float) -> float:
    return new if not old else (1 - _WEIGHT) * old + _WEIGHT * new
