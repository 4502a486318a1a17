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

from runtime.base.child_process import child_environment, module_command
from runtime.base.files import write_atomic
from runtime.base.hardware import FILE_NAME, ThreadMeasurement, processors
from runtime.engine.llama.scorer import LlamaScorer
from runtime.engine.llama.thread_tuner import CROWDED_SHARE
from runtime.errors import ModelError

ENOUGH = 0.97
"""The fewest threads that reach this share of the fastest rate are chosen; other programs get the rest."""
STEPS = 24
"""Tokens written for each number of threads."""
PROMPT = tuple(range(100, 108))
MEASURE_S = 120.0
"""A child that takes longer is killed."""


def candidates(count: int) -> list[int]:
    """Numbers of threads worth trying on so many processors: all up to four, then halves."""
    tried = {number for number in range(1, count + 1) if number <= 4} | {count}
    while count > 4:
        count //= 2
        tried.add(count)
    return sorted(tried)


def choose_threads(rates: Mapping[int, float], *, busy: bool = False) -> int:
    """The fewest threads that are nearly as fast as the fastest; `busy`: on a machine that did other things, all.

    While other programs are busy the engine uses fewer by itself (`runtime.engine.llama.thread_tuner`).
    """
    if busy:
        return max(rates)
    best = max(rates.values())
    return min(count for count, rate in rates.items() if rate >= ENOUGH * best)


def measure_threads(
    home: Path, model: Path, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> ThreadMeasurement:
    """Measure and keep the choice; `ModelError` when the model cannot be run. `progress(done, all)` counts trials."""
    rates: dict[int, float] = {}
    least_share = 1.0
    count = len(candidates(processors()))
    progress(0, count)
    for line in _lines(module_command("runtime.engine.tools.thread_benchmark", str(model))):
        threads, rate, share = line.split()
        rates[int(threads)] = float(rate)
        least_share = min(least_share, float(share))
        progress(len(rates), count)
    if len(rates) < count:
        raise ModelError("the model cannot be run here", where=str(model), hint="edgedesk doctor")
    shown = {str(threads): round(rate, 2) for threads, rate in rates.items()}
    busy = least_share < CROWDED_SHARE
    found = ThreadMeasurement(choose_threads(rates, busy=busy), processors(), model.name, shown, busy)
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
    """`python -m runtime.engine.tools.thread_benchmark MODEL` prints a line for each number of threads.

    It holds the number, tokens a second, and the share of the time in which the threads had a processor.
    """
    counts = candidates(processors())
    with LlamaScorer(Path(sys.argv[1]), context=256, threads=max(counts)) as model:
        model.decode_rate(PROMPT, 2)  # pages in
        for count in counts:
            began, computed = time.monotonic(), time.process_time()
            rate = model.decode_rate(PROMPT, STEPS, threads=count)
            share = (time.process_time() - computed) / (time.monotonic() - began) / count
            sys.stdout.write(f"{count} {rate} {share}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
