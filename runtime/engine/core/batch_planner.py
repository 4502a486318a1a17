"""What the next step of the engine computes: pure decisions over the active requests.

    every writing request    its next token, and guesses after it while nothing is read for a waiting reader
    reading requests         a slice of the prompt: the shortest first, one that was skipped too often before all others
    background requests      only while no waiting reader's prompt is left to be read
    speculative requests     only in steps that nobody waits for; there like any other

Promises: a writer that is not speculative is in every batch; a waiting request is skipped in at most
`MAX_SKIPPED_STEPS` steps and as many more as there are requests; a batch never exceeds its budget. Knows nothing of
llama.cpp, threads and clocks.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.engine.core.options import Preference

MAX_SKIPPED_STEPS = 8
"""Steps in which a long prompt is skipped in favour of shorter ones, before it goes first."""
GAP_FACTORS: dict[Preference, float] = {"writers": 2.5, "readers": 6.0}
"""A step in which a request writes may take this many times what it takes without reading. Where a 3B model writes in
66 ms, six times that is a full tile of rows (375 ms): reading then goes on at nearly the speed that it has alone.
"""
STEP_S = 1.0
"""Seconds that a step without a writer may take: a request that arrives or is cancelled meanwhile waits for its end."""
BACKGROUND_STEP_S = 0.25
"""The same for a step that reads for background requests only."""
MIN_READ_TOKENS = 3
"""Tokens read in a step whatever they cost, or reading would never end. With one writer's token they are four rows."""
ROW_TILE = 16
"""llama.cpp multiplies this many rows at a time, so a step costs as much as the next full tile: for a 3B model, 16 rows
take no longer than 12 (0.38 s on two cores), and 45 rows as long as 48.
"""
MIN_READ_ALONE, MIN_READ_BACKGROUND = 64, ROW_TILE
"""`MIN_READ_TOKENS` for steps without a writer: every step pays for one pass over all weights, so a short question is
cheaper in one step than in several, even where that takes longer than `STEP_S`.
"""
_NEWEST_WEIGHT = 0.2
"""Of the newest measurement in a running mean."""
_KEPT = 0.99
"""Of what guesses cost, with every step without one: after seventy steps half of it is forgotten."""


@dataclass(frozen=True)
class Job:
    """A request as the planner sees it."""

    id: int
    unread: int
    """Prompt tokens still to be read; 0: it is writing."""
    guesses: int = 0
    """Tokens guessed after the next one, to be checked together with it."""
    background: bool = False
    """Whether no reader waits for it yet."""
    speculative: bool = False
    """Whether nobody has asked for what it writes: a row of it would make a step longer that somebody waits for."""
    skipped: int = 0
    """Steps since it was last in a batch."""


@dataclass(frozen=True)
class Slice:
    """A request's share of the next batch: prompt tokens to read, or its next token and `count - 1` guesses."""

    id: int
    count: int


def plan_step(jobs: Sequence[Job], *, read_tokens: int, batch_tokens: int) -> tuple[Slice, ...]:
    """The next batch: at most `batch_tokens` tokens, of which at most `read_tokens` are read.

    Needs `batch_tokens` above the number of writers. Empty only when there are no jobs.
    """
    if any(not job.background for job in jobs):
        jobs = [job for job in jobs if not job.speculative]
    writers = [job for job in jobs if not job.unread]
    waiting = [job for job in jobs if job.unread and not job.background]
    # One token's place is reserved for reading, so that writers and their guesses alone never fill the batch.
    spare = batch_tokens - len(writers) - 1
    plan: list[Slice] = []
    for job in writers:
        # A row that is read for a waiting reader is needed for certain, a guess may turn out wrong.
        guesses = 0 if waiting else min(job.guesses, max(0, spare))
        spare -= guesses
        plan.append(Slice(job.id, 1 + guesses))
    written = sum(one.count for one in plan)
    readers = waiting or [job for job in jobs if job.unread]
    room = _fill_tiles(written, min(batch_tokens - written, read_tokens), sum(job.unread for job in readers))
    for job in sorted(readers, key=_reading_order):
        if room <= 0:
            break
        count = min(job.unread, room)
        room -= count
        plan.append(Slice(job.id, count))
    return tuple(plan)


def _fill_tiles(written: int, room: int, wanted: int) -> int:
    """`room`, or less so that the batch ends with a full tile, where more than `room` is wanted anyway."""
    odd = (written + room) % ROW_TILE
    return room - odd if wanted > room > odd and written + room > ROW_TILE else room


def _reading_order(job: Job) -> tuple[int, int, int]:
    """Shortest first, which has the lowest mean wait; `skipped` bounds what a long prompt pays for that."""
    overdue = job.skipped >= MAX_SKIPPED_STEPS
    return (0, -job.skipped, job.id) if overdue else (1, job.unread, job.id)


class StepCosts:
    """Learns what steps cost on this machine now, and says how much may be read in the next.

    A step's time is modelled as `write_s + guess_s(guesses) + reading * read_s`. Each cost is learned only from steps
    that have no other unknown, so that one wrong estimate cannot feed another.
    """

    def __init__(self, batch_tokens: int, prefer: Preference = "writers") -> None:
        self.batch_tokens = batch_tokens
        self.gap_factor = GAP_FACTORS[prefer]
        """See `GAP_FACTORS`."""
        self.steps = 0
        """Steps so far."""
        self.write_s = 0.0
        """Seconds of a step in which nothing is read; 0 before the first."""
        self._guess_s: dict[int, float] = {}
        """Seconds of checking so many guesses, above what the step costs without them, where that was measured."""
        self.read_s = 0.0
        """Seconds of reading one token, above what the step costs without it; 0 before the first."""
        self.answer_s = 0.0
        """Seconds of an answer, from its turn to its end; 0 before the first."""

    def record_step(self, *, guesses: int, reading: int, seconds: float) -> None:
        """Learn from a step that checked `guesses` guesses and read `reading` tokens."""
        self.steps += 1
        # The pass over the weights is paid in every step, with or without writers. Half of the step's own time bounds
        # it: `write_s` may be out of date, and no cost may come out negative.
        base = min(self.write_s, seconds / 2)
        if not reading and not guesses:
            self.write_s = _mean(self.write_s, seconds)
            # A check that was dear once, beside a busy neighbour, would keep anything newer from being learned.
            self._guess_s = {count: cost * _KEPT for count, cost in self._guess_s.items()}
        elif not reading:
            self._guess_s[guesses] = _mean(self._guess_s.get(guesses, 0.0), seconds - base)
        elif not guesses:
            self.read_s = _mean(self.read_s, (seconds - base) / reading)

    def guess_cost(self, guesses: int) -> float:
        """Of checking so many guesses, in steps without any; 0 before anything is known.

        What was not measured costs by the guess as the nearest number that was. A full tile is taken to cost no more
        than three rows fewer, so that it is tried where that would pay; from then on it is known.
        """
        if not (guesses and self.write_s and self._guess_s):
            return 0.0
        known = min(self._guess_s, key=lambda count: (abs(count - guesses), count))
        counted = min(guesses, ROW_TILE - 4) if guesses + 1 == ROW_TILE != known + 1 else guesses
        return self._guess_s[known] / known * counted / self.write_s

    def record_answer(self, seconds: float) -> None:
        """Learn from an answer how long it took from its turn to its end."""
        self.answer_s = _mean(self.answer_s, seconds)

    def read_tokens(self, *, writing: bool, waited_for: bool = True) -> int:
        """How many tokens the next step may read; `waited_for`: whether a reader waits for what is read."""
        if not self.read_s:
            return MIN_READ_TOKENS if writing else self.batch_tokens
        seconds, least = (STEP_S, MIN_READ_ALONE) if waited_for else (BACKGROUND_STEP_S, MIN_READ_BACKGROUND)
        if writing:
            seconds, least = (self.gap_factor - 1) * self.write_s, MIN_READ_TOKENS
        return min(self.batch_tokens, max(least, int(seconds / self.read_s)))

    def seconds_left(self, *, to_read: int, to_write: int) -> float:
        """Seconds that an active request will still take, as far as is known."""
        # Most answers end long before their limit, so the mean answer bounds what the limit allows.
        writing = min(to_write * self.write_s, self.answer_s) if self.answer_s else to_write * self.write_s
        return to_read * self.read_s + writing


def predict_waits(left_s: Sequence[float], slots: int, answer_s: float, waiting: int) -> list[float]:
    """Seconds until each of `waiting` requests has its turn: active ones take `left_s`, later ones `answer_s`."""
    ends = [*sorted(left_s), *[0.0] * (slots - len(left_s))]
    heapq.heapify(ends)
    return [heapq.heappushpop(ends, ends[0] + answer_s) for _ in range(waiting)]


def _mean(old: float, new: float) -> float:
    return new if not old else (1 - _NEWEST_WEIGHT) * old + _NEWEST_WEIGHT * new
