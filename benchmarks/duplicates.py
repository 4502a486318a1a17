"""Claim: near duplicates are found at least 20 times as fast as by datasketch, on equal shingles, with equal outcome.

Texts are public customers' questions, each several times with words changed, so that there is something to find. Both
read the same sets of shingles, with 126 permutations in 21 bands of 6; each says for every text whether a similar one
stands before it, verified by the exact Jaccard similarity. In one run, in turns; CPU time of one thread.

    python benchmarks/duplicates.py [--texts N]
"""

from __future__ import annotations

import csv
import random
import time
from argparse import ArgumentParser
from collections.abc import Sequence

from _harness import Bar, begin, in_turns, median, spread
from _planted_values import DATA
from datasketch import MinHash, MinHashLSH
from rensa import RMinHash, RMinHashLSH

from distill.data.cleaning.duplicates import near_duplicates, shingles

BARS = {"times as fast": Bar(least=20), "share of equal verdicts": Bar(least=0.999)}
_BANDS, _ROWS = 21, 6


def texts(count: int, seed: int = 7) -> list[str]:
    """Questions, a third of which are others with a word or two changed."""
    with (DATA / "en_banking77" / "train.csv").open(encoding="utf-8") as file:
        base = [row["text"] for row in csv.DictReader(file)]
    rng = random.Random(seed)  # noqa: S311 - texts to compare, no secrets
    words = [word for text in base[:500] for word in text.split()]
    out: list[str] = []
    while len(out) < count:
        parts = rng.choice(base).split()
        if rng.random() < 0.34:
            for _ in range(rng.randrange(1, 3)):
                parts[rng.randrange(len(parts))] = rng.choice(words)
        out.append(" ".join(parts))
    return out


def by_datasketch(sets: Sequence[set[str]], least: float) -> tuple[float, list[bool]]:
    """(seconds, whether a similar one stands before) by datasketch at its fastest, in bulk."""
    started = time.process_time()
    index = MinHashLSH(params=(_BANDS, _ROWS), num_perm=_BANDS * _ROWS)
    found = []
    encoded = [[token.encode() for token in tokens] for tokens in sets]
    for place, minhash in enumerate(MinHash.generator(encoded, num_perm=_BANDS * _ROWS, seed=42)):
        similar = any(_jaccard(sets[place], sets[int(each)]) >= least for each in index.query(minhash))
        found.append(similar)
        if not similar:
            index.insert(str(place), minhash)
    return time.process_time() - started, found


def by_rensa(sets: Sequence[set[str]], least: float) -> tuple[float, list[bool]]:
    """The same by rensa, as `distill.data.cleaning.duplicates` does it."""
    started = time.process_time()
    index = RMinHashLSH(0.5, _BANDS * _ROWS, _BANDS)
    found = []
    for place, minhash in enumerate(RMinHash.from_token_sets(sets, _BANDS * _ROWS, 42)):
        similar = any(_jaccard(sets[place], sets[each]) >= least for each in index.query(minhash))
        found.append(similar)
        if not similar:
            index.insert(place, minhash)
    return time.process_time() - started, found


def _jaccard(one: set[str], other: set[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--texts", type=int, help="how many")


def main() -> int:
    """Measure, print and judge."""
    run = begin("duplicates", __doc__, BARS, _options)
    if not DATA.is_dir():
        run.absent.append(f"the public data in {DATA}")
        return run.end()
    sample = texts(run.options.texts or (1000 if run.options.quick else 4000))
    sets = [shingles(text) for text in sample]
    rounds = run.options.rounds or (1 if run.options.quick else 3)
    found = in_turns(rounds, {"datasketch": lambda _: by_datasketch(sets, 0.8), "rensa": lambda _: by_rensa(sets, 0.8)})
    took = {name: [seconds for seconds, _ in each] for name, each in found.items()}
    for name, seconds in took.items():
        run.row(f"{name}, {len(sets)} texts", spread(seconds, " s"), f"{len(sets) / median(seconds):.0f} a second")
    started = time.process_time()
    whole = near_duplicates(sample)
    run.row("with shingling, near_duplicates", f"{len(sample) / (time.process_time() - started):.0f} a second")
    verdicts = [each[0][1] for each in found.values()]
    run.figures["times as fast"] = median(took["datasketch"]) / median(took["rensa"])
    run.figures["share of equal verdicts"] = sum(a == b for a, b in zip(*verdicts, strict=True)) / len(sets)
    run.figures["near duplicates"] = float(sum(twin is not None for twin in whole))
    return run.end()


if __name__ == "__main__":
    raise SystemExit(main())
