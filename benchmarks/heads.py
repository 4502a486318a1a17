"""Claim: heads on the retrieval embedder's vectors tell 77 intents apart with an accuracy of at least 0.93.

Banking77: the five stratified fifths of the train file, each told by a head that was trained on the rest; the claim is
of their mean, since single fifths lie up to two points apart. GoEmotions: its texts with one emotion, in Ekman's
six and neutral, trained on the train file and tested on the dev file; macro-F1 is reported. Both sets lie in
../shared/data. There is no peer to run.

    python benchmarks/heads.py [--embedder FOLDER] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from distill.classifiers.build_classifiers import sample
from distill.classifiers.intent_training import FOLDS, Example, cross_validate, train_classifier
from distill.classifiers.labelled_files import read_examples
from runtime.base.home import find_home
from runtime.base.progress import bar
from runtime.bundle.generations import current_bundle
from runtime.evaluation.classifiers import measure
from runtime.retrieval.embedder import Embedder

DATA = Path(__file__).parents[2] / "shared" / "data"
BAR = {"banking77_accuracy": 0.93}
EKMAN = {
    "anger": "anger annoyance disapproval",
    "disgust": "disgust",
    "fear": "fear nervousness",
    "joy": "joy amusement approval excitement gratitude love optimism relief pride admiration desire caring",
    "sadness": "sadness disappointment embarrassment grief remorse",
    "surprise": "surprise realization confusion curiosity",
    "neutral": "neutral",
}
"""The grouping of the data set's authors (arXiv:2005.00547)."""


def ekman(name: str) -> list[Example]:
    """Texts of GoEmotions that fall into one group."""
    folder = DATA / "en_goemotions"
    fine = (folder / "labels.txt").read_text(encoding="utf-8").split()
    group = {fine.index(one): big for big, names in EKMAN.items() for one in names.split() if one in fine}
    group.setdefault(len(fine), "neutral")
    out = []
    for line in (folder / name).read_text(encoding="utf-8").splitlines():
        text, numbers = line.split("\t")[:2]
        groups = {group[int(number)] for number in numbers.split(",")}
        if len(groups) == 1:
            out.append(Example(text, groups.pop()))
    return out


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embedder", type=Path, help="an embedder folder; default: the installed bundle's")
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not DATA.is_dir():
        print("the public data (../shared/data) is not here", file=sys.stderr)
        print(json.dumps({"name": "heads", "figures": {}, "bar": BAR, "holds": False}))
        return
    encoder = Embedder(given.embedder or current_bundle(find_home()).embedder_path)
    began = time.monotonic()
    banking = list(read_examples(DATA / "en_banking77" / "train.csv"))
    share = 10 if given.quick else 1
    with bar("training and measuring", FOLDS, unit="folds") as advance:
        figures: dict[str, Any] = {"banking77": cross_validate(banking[::share], encoder.queries, advance=advance)}
    said = time.monotonic()
    train = sample(ekman("train.tsv"), 8000 // share)
    tested = ekman("dev.tsv")[:: 2 * share]
    head, _ = train_classifier(train, encoder.queries)
    texts = [one.text for one in tested]
    gold = np.array([head.labels.index(one.label) for one in tested])
    figures["goemotions_ekman"] = {"trained": len(train), **measure(head, texts, encoder.queries(texts), gold)}
    for name, row, seconds in (
        ("banking77", figures["banking77"], said - began),
        ("goemotions_ekman", figures["goemotions_ekman"], time.monotonic() - said),
    ):
        print(f"{name:<18}" + ", ".join(f"{key} {value}" for key, value in row.items()) + f", {seconds:.0f} s")
    holds = figures["banking77"]["accuracy"] >= BAR["banking77_accuracy"] and not given.quick
    if given.json:
        print(json.dumps({"name": "heads", "figures": figures, "bar": BAR, "holds": holds}))


if __name__ == "__main__":
    main()
