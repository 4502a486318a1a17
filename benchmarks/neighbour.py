"""Claim: beside two busy processes on two cores, answers keep three times the speed of llama.cpp's default waiting.

A branch server runs tills too. llama.cpp's threads wait for each other by spinning, which costs the most just when the
cores are shared; the engine's sleep. Peer: llama-server as it comes. Both write with the same threads, alone and beside
two processes that do nothing but compute.

    python benchmarks/neighbour.py [--model 135m|3b] [--threads 2] [--quick] [--json]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from _harness import (
    Bar,
    Peer,
    Run,
    ask_engine,
    begin,
    in_turns,
    main,
    median,
    model_file,
    peer_folder,
    project,
    shop_texts,
    spread,
)

from runtime.base.progress import say

BARS = {"beside_over_peer": Bar(least=3.0)}
NEIGHBOURS = 2
CORES = 2
CONTEXT_TOKENS = 1024


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that compute without end on this process's cores."""
    command = [sys.executable, "-c", "print('busy', flush=True)\nwhile True: pass"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()
            if one.stdout is not None:
                one.stdout.close()


def work(run: Run) -> None:
    """Measure both."""
    folder = peer_folder(run)
    model, threads = model_file(run.options.model), run.options.threads
    # Everything started from here inherits it: on a larger machine the neighbours would have cores of their own.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    rounds, count = (1, 24) if run.options.quick else (run.options.rounds or 5, 64)
    rates: dict[str, dict[str, list[float]]] = {}
    with project(model, threads=threads, context_tokens=CONTEXT_TOKENS) as engine:
        texts = [engine.vocab.encode(text, control=False)[:48] for text in shop_texts()]

        def both(contestants: dict[str, Callable[[int], float]]) -> None:
            rates["alone"] = in_turns(rounds, contestants, say)
            with busy(NEIGHBOURS):
                rates["beside"] = in_turns(rounds, contestants, say)

        def own(number: int) -> float:
            return ask_engine(engine, texts[number], count).rate

        if folder is None:
            both({"engine": own})
        else:
            with Peer(folder, model, threads=threads, context_tokens=CONTEXT_TOKENS) as peer:
                both({"engine": own, "peer": lambda number: peer.ask(texts[number], count).rate})
    run.row("tokens a second", "alone", "beside two busy processes")
    for name in rates["alone"]:
        run.row(name, spread(rates["alone"][name]), spread(rates["beside"][name]))
    for name, by in rates.items():
        figures(run, name, by)


def figures(run: Run, name: str, by: dict[str, list[float]]) -> None:
    """The medians, and their ratio where there is a peer."""
    own: Sequence[float] = by["engine"]
    run.figures[f"{name}_tokens_per_s"] = median(own)
    if peers := by.get("peer"):
        run.figures[f"{name}_peer_tokens_per_s"] = median(peers)
        run.figures[f"{name}_over_peer"] = median(own) / median(peers)


if __name__ == "__main__":
    raise SystemExit(main(begin("neighbour", __doc__, BARS), work))
