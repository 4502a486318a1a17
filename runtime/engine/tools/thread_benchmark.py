"""How many threads the model writes fastest with on this machine: measured once, when a bundle is installed.

`machine.json` in the home keeps the choice and the rates; the setting `threads` overrides it. It is valid while the
machine has as many processors as were measured. Measured in a process of its own: a broken model may abort it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from runtime.base.child_process import child_environment, module_command
from runtime.base.files import write_atomic
from runtime.base.hardware import FILE_NAME, ThreadMeasurement, processors
from runtime.engine.llama.scorer import LlamaScorer
from runtime.engine.llama.thread_tuner import CROWDED_SHARE
from runtime.errors import ModelError

ENOUGH = 0.97
"""The fewest threads that reach this share of the fastest rate are chosen; other programs get the rest."""
STEPS = 8
"""Tokens written in one trial of a number of threads."""
ROUNDS = 3
"""Trials of each number, in turns, so that a minute's work of another program does not fall on one number alone."""
LONGEST_S = 6.0
"""As long as a number of threads had no trial in quiet, further rounds are begun until so much time has gone."""
PROMPT = tuple(range(100, 108))
MEASURE_S = 120.0
"""A child that takes longer is killed."""


class ThreadTrial(NamedTuple):
    """One trial of a number of threads."""

    threads: int
    rate: float
    """Tokens a second."""
    share: float
    """Of the time in which the threads had a processor."""

    @property
    def quiet(self) -> bool:
        """Whether other programs left the threads their processors, so that the rate is the machine's."""
        return self.share >= CROWDED_SHARE


def candidates(count: int) -> list[int]:
    """Numbers of threads worth trying on so many processors: all up to four, then halves."""
    tried = {number for number in range(1, count + 1) if number <= 4} | {count}
    while count > 4:
        count //= 2
        tried.add(count)
    return sorted(tried)


def best_rates(trials: Sequence[ThreadTrial]) -> dict[int, float]:
    """The best rate of each number of threads among its trials in quiet; a number without any is left out.

    The best and not the median: whatever else ran can only have made a trial slower.
    """
    rates: dict[int, float] = {}
    for trial in sorted(trials):
        if trial.quiet:
            rates[trial.threads] = max(trial.rate, rates.get(trial.threads, 0.0))
    return rates


def choose_threads(rates: Mapping[int, float], tried: Sequence[int]) -> int:
    """The fewest threads that are nearly as fast as the fastest; all where not every number was tried in quiet.

    While other programs are busy the engine uses fewer by itself (`runtime.engine.llama.thread_tuner`).
    """
    if len(rates) < len(tried):
        return max(tried)
    best = max(rates.values())
    return min(count for count, rate in rates.items() if rate >= ENOUGH * best)


def measure_threads(
    home: Path, model: Path, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> ThreadMeasurement:
    """Measure and keep the choice; `ModelError` when the model cannot be run. `progress(done, all)` counts trials."""
    trials: list[ThreadTrial] = []
    counts = candidates(processors())
    least = ROUNDS * len(counts)
    progress(0, least)
    for line in _lines(module_command("runtime.engine.tools.thread_benchmark", str(model))):
        threads, rate, share = line.split()
        trials.append(ThreadTrial(int(threads), float(rate), float(share)))
        progress(min(len(trials), least), least)
    if len(trials) < least:
        raise ModelError("the model cannot be run here", where=str(model), hint="edgedesk doctor")
    rates = best_rates(trials)
    shown = {str(threads): round(rate, 2) for threads, rate in rates.items()}
    found = ThreadMeasurement(
        choose_threads(rates, counts), processors(), model.name, shown, busy=len(rates) < len(counts)
    )
    write_atomic(home / FILE_NAME, json.dumps(asdict(found), indent=1) + "\n", mode=0o600)
    return found


def _lines(command: Sequence[str]) -> Iterator[str]:
    """What a child process prints, until it ends or its time is over."""
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        env=child_environment(),
    )
    timer = threading.Timer(MEASURE_S, child.kill)
    timer.start()
    try:
        assert child.stdout is not None
        with child.stdout as lines:
            yield from lines
    finally:
        timer.cancel()
        child.kill()
        child.wait()


def main() -> None:
    """`python -m runtime.engine.tools.thread_benchmark MODEL` prints the fields of a `ThreadTrial` a line."""
    counts = candidates(processors())
    with LlamaScorer(Path(sys.argv[1]), context=256, threads=max(counts)) as model:
        model.decode_rate(PROMPT, 2)  # pages in
        began, done, quiet = time.monotonic(), 0, set[int]()
        while done < ROUNDS or (len(quiet) < len(counts) and time.monotonic() - began < LONGEST_S):
            for count in counts:
                trial = _try(model, count)
                quiet |= {count} if trial.quiet else set()
                sys.stdout.write(f"{trial.threads} {trial.rate} {trial.share}\n")
                sys.stdout.flush()
            done += 1


def _try(model: LlamaScorer, count: int) -> ThreadTrial:
    began, computed = time.monotonic(), time.process_time()
    rate = model.decode_rate(PROMPT, STEPS, threads=count)
    return ThreadTrial(count, rate, (time.process_time() - computed) / (time.monotonic() - began) / count)


if __name__ == "__main__":
    main()
