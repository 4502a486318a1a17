"""Claim: heads on the retrieval embedder's vectors tell 77 intents apart (≥0.93) and find what is none of 150 (≥0.9).

The first is accuracy, the second the share of out-of-scope questions found at 5 % false alarms.

Banking77: the five stratified fifths of the train file, each told by a head that was trained on the rest; the claim is
of their mean, since single fifths lie up to two points apart. GoEmotions: its texts with one emotion, in Ekman's
six and neutral, trained on the train file and tested on the dev file; macro-F1 is reported. CLINC: 40 training
questions of each of its 150 intents; its validation file's questions set the bound, its 200 out-of-scope rows are
found by familiarity. Where the embedder is a bundle's, its own emotion head is put to the dev file too: how many texts
of each group it calls calm. The sets lie in ../shared/data. There is no peer to run.

    python benchmarks/heads.py [--embedder FOLDER] [--only SET ...] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.classifiers.build_classifiers import sample
from distill.classifiers.intent_training import FOLDS, Example, cross_validate, measure_on_test, train_classifier
from distill.classifiers.labelled_files import read_examples
from runtime.base.home import find_home
from runtime.base.progress import bar
from runtime.bundle.generations import current_bundle
from runtime.desk.intent_and_emotion import CALM
from runtime.evaluation.classifiers import measure
from runtime.retrieval.embedder import Embedder
from runtime.understanding.linear_classifier import FOLDER, LinearClassifier, load_classifier

DATA = Path(__file__).parents[2] / "shared" / "data"
BAR = {"banking77_accuracy": 0.93, "clinc_unknown_found": 0.9}
SETS = ("banking77", "goemotions", "clinc")
CLINC_EXAMPLES = 6000
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


Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def banking77(embed: Embed, share: int) -> dict[str, Any]:
    """Five folds of the train file."""
    examples = list(read_examples(DATA / "en_banking77" / "train.csv"))[::share]
    with bar("training and measuring", FOLDS, unit="folds") as advance:
        return cross_validate(examples, embed, advance=advance)


def goemotions(embed: Embed, share: int) -> dict[str, Any]:
    """Ekman's groups."""
    train = sample(ekman("train.tsv"), 8000 // share)
    tested = ekman("dev.tsv")[:: 2 * share]
    head, _ = train_classifier(train, embed)
    texts = [one.text for one in tested]
    gold = np.array([head.labels.index(one.label) for one in tested])
    return {"trained": len(train), **measure(head, texts, embed(texts), gold)}


def clinc(embed: Embed, share: int) -> dict[str, Any]:
    """Intents of the validation file, and its out-of-scope rows with those of the train file."""
    rows = json.loads((DATA / "en_clinc150" / "train_val.json").read_text(encoding="utf-8"))
    train = sample([Example(text, label) for text, label in rows["train"]], CLINC_EXAMPLES // share)
    unknown = [*rows["oos_val"], *rows["oos_train"]]
    return measure_on_test(train, [Example(text, label) for text, label in [*rows["val"][::share], *unknown]], embed)


def called_calm(head: LinearClassifier, embed: Embed, share: int) -> dict[str, Any]:
    """Of GoEmotions' groups: the share that a bundle's own head calls calm, and calls so with .8 or more."""
    tested = ekman("dev.tsv")[:: 2 * share]
    texts = [one.text for one in tested]
    chances = head.probabilities(texts, embed(texts))
    calm = chances.argmax(axis=1) == head.labels.index(CALM)
    sure = calm & (chances.max(axis=1) >= 0.8)
    groups = np.array([one.label for one in tested])
    return {
        name: {
            "texts": int((groups == name).sum()),
            "calm": round(float(calm[groups == name].mean()), 3),
            "calm, high": round(float(sure[groups == name].mean()), 3),
        }
        for name in sorted(set(groups))
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embedder", type=Path, help="an embedder folder; default: the installed bundle's")
    parser.add_argument("--only", nargs="+", choices=SETS, default=SETS, help="these sets")
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not DATA.is_dir():
        print("the public data (../shared/data) is not here", file=sys.stderr)
        print(json.dumps({"name": "heads", "figures": {}, "bar": BAR, "holds": False}))
        return
    encoder = Embedder(given.embedder or current_bundle(find_home()).embedder_path)
    embed, share = encoder.queries, 10 if given.quick else 1
    own = encoder.folder.parent / FOLDER / "emotion.npz"
    figures: dict[str, dict[str, Any]] = {}
    for name, work in (("banking77", banking77), ("goemotions", goemotions), ("clinc", clinc)):
        if name not in given.only:
            continue
        began = time.monotonic()
        figures[name] = work(embed, share)
        if name == "goemotions" and own.is_file():
            figures["goemotions, called calm by the bundle"] = called_calm(load_classifier(own), embed, share)
        print(f"{time.monotonic() - began:.0f} s")
    for name, row in figures.items():
        print(f"{name}\n    " + "\n    ".join(f"{key} {value}" for key, value in row.items()))
    holds = not given.quick and set(given.only) == set(SETS)
    holds = holds and figures["banking77"]["accuracy"] >= BAR["banking77_accuracy"]
    holds = holds and figures["clinc"]["unknown_found"] >= BAR["clinc_unknown_found"]
    if given.json:
        print(json.dumps({"name": "heads", "figures": figures, "bar": BAR, "holds": holds}))


if __name__ == "__main__":
    main()
