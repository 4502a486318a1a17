"""Claim: while one agent's long prompt is read, another's answer goes on, and the reading loses little by it.

An answer is written; after a while somebody sends a prompt of 1,500 tokens. Measured: the gaps between the answer's
pieces while that prompt is read, against its gap alone, and how fast the prompt is read, against reading it alone.
Every prompt is another text, so that nothing is read from memory. The peer, llama-server with two slots, runs the same.

How long a step with a writer may take is the trade between the two. The frontier is measured at several such bounds;
the settings `prefer = "writers"` (which the bars are about) and `"readers"` name two points of it.

    python benchmarks/fairness.py [--model 135m|3b] [--threads 2] [--quick] [--json]
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from _harness import (
    Ask,
    Bar,
    Peer,
    Reply,
    Run,
    ask_engine,
    begin,
    gaps,
    in_turns,
    main,
    median,
    model_file,
    peer_folder,
    project,
    quantile,
    shop_texts,
    spread,
)

from runtime.base.progress import say
from runtime.engine.core.batch_planner import GAP_FACTORS
from runtime.engine.llama.engine import LlamaEngine

BARS = {"p95_gap_over_alone": Bar(most=3.5), "reading_over_alone": Bar(least=0.5)}
FRONTIER = (1.5, *GAP_FACTORS.values(), 10.0)
"""Times a writer's step alone that a step which also reads may take."""
READ_TOKENS = 1500
CONTEXT_TOKENS = 2304
WRITE_TOKENS = 640
AFTER_TOKENS = 24
"""Tokens the answer has written alone before the long prompt comes."""


@dataclass(frozen=True)
class Trial:
    """One answer with a long prompt in its midst."""

    alone_s: list[float]
    beside_s: list[float]
    reading_tokens_per_s: float
    reading_alone_tokens_per_s: float


class Sources:
    """Token lists that no earlier one begins like."""

    def __init__(self, engine: LlamaEngine) -> None:
        self._tokens = [engine.vocab.encode(text, control=False) for text in shop_texts()]
        self._next = 0

    def long(self) -> list[int]:
        """A prompt of `READ_TOKENS`, its articles in an order of its own."""
        self._next += 1
        start = self._next % len(self._tokens)
        tokens = [token for text in self._tokens[start:] + self._tokens[:start] for token in text]
        return tokens[self._next : self._next + READ_TOKENS]

    def short(self) -> list[int]:
        """A prompt of some words."""
        self._next += 1
        return self._tokens[self._next % len(self._tokens)][:48]


def trial(ask: Ask, sources: Sources, wait_s: float, write_tokens: int) -> Trial:
    """Write, and `wait_s` later have something long read beside it; then the same prompt length alone."""
    written: list[Reply] = []
    writer = threading.Thread(target=lambda: written.append(ask(sources.short(), write_tokens)))
    writer.start()
    time.sleep(wait_s)  # part of what is measured: the long prompt comes in the middle of the answer
    long = sources.long()
    began = time.monotonic()
    read = ask(long, 1)
    writer.join()
    answer = written[0]
    alone = ask(sources.long(), 1)
    return Trial(
        alone_s=gaps(answer.arrivals, end=began),
        beside_s=gaps(answer.arrivals, start=began, end=began + read.first_s),
        reading_tokens_per_s=len(long) / read.first_s,
        reading_alone_tokens_per_s=READ_TOKENS / alone.first_s,
    )


def pace(ask: Ask, sources: Sources) -> float:
    """Seconds until an answer has written `AFTER_TOKENS`."""
    reply = ask(sources.short(), AFTER_TOKENS)
    return reply.ended - reply.asked


def summary(run: Run, name: str, trials: Sequence[Trial]) -> dict[str, float]:
    """A row of the table; the ratios of one contestant."""
    alone = median([gap for one in trials for gap in one.alone_s])
    beside = [gap for one in trials for gap in one.beside_s]
    reading = [one.reading_tokens_per_s for one in trials]
    reading_alone = [one.reading_alone_tokens_per_s for one in trials]
    run.row(
        name,
        f"{alone:.4f}",
        f"{quantile(beside, 0.95):.4f} / {max(beside, default=float('nan')):.4f}",
        spread(reading),
        spread(reading_alone),
    )
    return {
        "gap_alone_s": alone,
        "p95_gap_s": quantile(beside, 0.95),
        "longest_gap_s": max(beside, default=float("nan")),
        "p95_gap_over_alone": quantile(beside, 0.95) / alone,
        "reading_over_alone": median(reading) / median(reading_alone),
    }


def work(run: Run) -> None:
    """Measure both."""
    folder = peer_folder(run)
    model, threads = model_file(run.options.model), run.options.threads
    rounds, write = (1, WRITE_TOKENS // 4) if run.options.quick else (run.options.rounds or 5, WRITE_TOKENS)
    with project(model, threads=threads, context_tokens=CONTEXT_TOKENS) as engine:
        sources = Sources(engine)

        def at(factor: float) -> Trial:
            engine.backend.costs.gap_factor = factor
            return trial(own, sources, wait_s, write)

        def own(tokens: Sequence[int], count: int) -> Reply:
            return ask_engine(engine, tokens, count)

        wait_s = pace(own, sources)
        points = {f"steps of {factor:g}": partial(_ignore_round, at, factor) for factor in FRONTIER}
        if folder is None:
            trials = in_turns(rounds, points, say)
        else:
            with Peer(folder, model, threads=threads, context_tokens=CONTEXT_TOKENS, slots=2) as peer:
                peer_wait_s = pace(peer.ask, sources)
                trials = in_turns(
                    rounds,
                    {
                        "peer": lambda _: trial(peer.ask, sources, peer_wait_s, write),
                        **points,
                    },
                    say,
                )
    run.row("", "gap alone, s", "beside: p95 / longest, s", "read beside, tokens/s", "read alone, tokens/s")
    names = {f"steps of {factor:g}": preference for preference, factor in GAP_FACTORS.items()}
    for name, found in trials.items():
        values, preference = summary(run, name, found), names.get(name)
        run.figures |= {f"{preference or name}: {key}": value for key, value in values.items()}
        if preference == "writers":
            run.figures |= {key: values[key] for key in BARS}


def _ignore_round(measure: Callable[[float], Trial], factor: float, _round: int) -> Trial:
    return measure(factor)


if __name__ == "__main__":
    raise SystemExit(main(begin("fairness", __doc__, BARS), work))
