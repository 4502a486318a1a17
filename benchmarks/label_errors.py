"""Claim: of intents that were planted wrong, 80% stand in a list of at most twice their number.

3% of the intents of Banking77 (10,003 questions, 77 intents) are replaced by another one at random; the list is
`distill.data.labelling.label_errors` cut to twice as many. A share of the public labels is wrong already, and stands in
the list too. `--nearby` plants the intent of a neighbouring question instead, which is what people mistake.

    python benchmarks/label_errors.py [--nearby]
"""

from __future__ import annotations

import csv
import random
import time
from argparse import ArgumentParser
from collections import defaultdict

from _harness import Bar, begin
from _planted_values import DATA

from distill.data.labelling.label_errors import find_label_errors

BARS = {"share of planted errors in the list": Bar(least=0.8)}
SHARE = 0.03


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--nearby", action="store_true", help="plant labels of similar intents")


def main() -> int:
    """Plant, find, print and judge."""
    run = begin("label_errors", __doc__, BARS, _options)
    path = DATA / "en_banking77" / "train.csv"
    if not path.is_file():
        run.absent.append(f"the public data {path}")
        return run.end()
    with path.open(encoding="utf-8") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    rng = random.Random(7)  # noqa: S311 - which labels are planted is no secret
    if run.options.quick:
        kept = set(rng.sample(sorted({label for _, label in rows}), 20))
        rows = [row for row in rows if row[1] in kept]
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    names = sorted(set(labels))
    near = _near(names) if run.options.nearby else {name: [other for other in names if other != name] for name in names}
    planted = set(rng.sample(range(len(rows)), round(SHARE * len(rows))))
    wrong = [rng.choice(near[label]) if place in planted else label for place, label in enumerate(labels)]
    started = time.process_time()
    found = find_label_errors(texts, wrong, most=2 * len(planted))
    took = time.process_time() - started
    listed = {error.place for error in found} & planted
    mended = sum(error.place in planted and error.suggested == labels[error.place] for error in found)
    run.row("questions, intents, planted", str(len(rows)), str(len(names)), str(len(planted)))
    run.row("in a list of", str(len(found)), f"{took:.1f} s of CPU")
    run.figures["share of planted errors in the list"] = len(listed) / len(planted)
    run.figures["share of those with the right suggestion"] = mended / max(1, len(listed))
    run.figures["share of planted errors in a list of their number"] = len(
        {error.place for error in found[: len(planted)]} & planted
    ) / len(planted)
    return run.end()


def _near(names: list[str]) -> dict[str, list[str]]:
    """For an intent those that share a word of its name with it."""
    by_word: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        for word in name.lower().replace("?", "").split("_"):
            by_word[word].add(name)
    return {
        name: sorted({each for word in name.lower().replace("?", "").split("_") for each in by_word[word]} - {name})
        or [other for other in names if other != name]
        for name in names
    }


if __name__ == "__main__":
    raise SystemExit(main())
