"""Claim: before anything is shown, the desk tells questions that the articles answer from those that they do not.

The classifier is the build's (`distill.classifiers.answerable_training`), trained here on simulated conversations of
the example shop alone. It judges the shop's hand-written questions in both languages, which no training saw: the area
under the curve (AUC), and the unanswerable refused where the policy allows a share of the answerable to be refused.
Two rows say what it cannot: `at 5 %` uses the hand-written questions themselves to find the bound, and `foreign` asks
the public FAQs' questions, none of which the shop answers.

`banking77` is another company: every third of its 77 intents has no section. A classifier trained on its questions
knows half of what is left out from questions that nobody could answer; the other half it never saw. No two of its
questions have a reply in common, so each is in a fold of its own. `shop's` judges
the same questions by the shop's classifier, without training.

    python benchmarks/answerable.py --embedder FOLDER [--data ../shared/data] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _retrieval_sets import DATA, SHOP
from numpy.typing import NDArray

from distill.classifiers.answerable_training import AskedQuestion, train_answerable
from distill.data.simulate import simulate
from runtime.base.home import find_home
from runtime.base.jsonl import read_rows
from runtime.bundle.generations import current_bundle
from runtime.errors import EdgedeskError, MissingError
from runtime.evaluation.retrieval import load_set
from runtime.retrieval.embedder import Embedder
from runtime.text.records import Question
from runtime.understanding.answerable_classifier import AnswerableClassifier

LANGUAGES = ("en", "zh")
RATES = (0.05, 0.1)
BAR = {"auc": 0.85, "refused_rightly": 0.6, "refused_wrongly": 0.05}
OTHER_BAR = {"refused_rightly": 0.45, "refused_wrongly": 0.08}
"""Of another company's articles under the shop's own calibration."""
TRAINED_ON, ASKED_FROM, ASKED_TO = 14, 40, 46
"""Questions of each intent of banking77 that train, and those that are asked."""
LEFT_OUT = 3
"""Every third intent has no section."""
CONVERSATIONS, QUICK = 4000, 400


def simulated(lang: str, count: int) -> list[AskedQuestion]:
    """First questions of the shop's simulated conversations; the group is the reply, or how a refused question ends."""
    out: dict[str, AskedQuestion] = {}
    for talk in simulate(SHOP / lang, conversations=count, seed=7):
        asked, reply = talk.turns[0], talk.turns[1]
        answered = bool(asked.evidence)
        group = reply.content if answered else asked.content[-16:]
        section = asked.evidence[0] if asked.evidence else ""
        out[asked.content] = AskedQuestion(asked.content, answered, group, section)
    return list(out.values())


def levels(known: AnswerableClassifier, vectors: NDArray[np.float32], lang: str) -> NDArray[np.float64]:
    """Of each question: the share of answerable ones that look less answerable."""
    return np.array([known.level(vector, lang) for vector in vectors])


class Banking(NamedTuple):
    """Banking77 as a company whose articles lack every third intent."""

    trained: list[AskedQuestion]
    """Questions of all intents with a section, and of every second one without."""
    answered: list[str]
    """Asked about sections that are there."""
    known: list[str]
    """About sections left out, of which the training knew."""
    unseen: list[str]
    """About sections left out of which it did not."""


def banking(data: Path) -> Banking:
    """The set; `MissingError` where the data is not there."""
    path = data / "en_banking77" / "train.csv"
    if not path.is_file():
        raise MissingError("no questions of banking77", where=str(path), hint="the set's benchmark rows are left out")
    by_intent: defaultdict[str, list[str]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_intent[row["category"]].append(" ".join(row["text"].split()))
    out = Banking([], [], [], [])
    for number, (intent, texts) in enumerate(sorted(by_intent.items())):
        answered, unseen = number % LEFT_OUT != 0, number % (2 * LEFT_OUT) == 0
        if answered or not unseen:
            section = intent if answered else ""
            out.trained.extend(AskedQuestion(text, answered, text, section) for text in texts[:TRAINED_ON])
        asked = out.answered if answered else out.unseen if unseen else out.known
        asked.extend(texts[ASKED_FROM:ASKED_TO])
    return out


def banking_figures(data: Path, embedder: Embedder, shop: AnswerableClassifier) -> dict[str, float]:
    """What a classifier of its own refuses of banking77, and the shop's without training."""
    asked = banking(data)
    trained = train_answerable({"en": asked.trained}, embedder.queries)
    assert trained is not None  # hundreds of questions of each kind
    vectors = [embedder.queries(texts) for texts in (asked.answered, asked.known, asked.unseen)]
    figures: dict[str, float] = {"answerable": len(asked.answered), "left out": len(asked.known) + len(asked.unseen)}
    for who, known, rates in (("own", trained[0], RATES), ("shop's", shop, RATES[1:])):
        yes, seen, unseen = (levels(known, rows, "en") for rows in vectors)
        no = np.concatenate([seen, unseen])
        figures[f"{who}: auc"] = float((yes[:, None] > no[None]).mean() + (yes[:, None] == no[None]).mean() / 2)
        for rate in rates:
            figures[f"{who}: wrongly, bound {rate}"] = float((yes < rate).mean())
            figures[f"{who}: rightly, bound {rate}"] = float((no < rate).mean())
            figures[f"{who}: rightly, never seen, bound {rate}"] = float((unseen < rate).mean())
    return figures


def main() -> int:
    """Run it; 0 when the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", type=Path, help="embedder folder (default: the installed bundle's)")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK} conversations a language instead of {CONVERSATIONS}"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    embedder = Embedder(options.embedder or current_bundle(find_home()).embedder_path)
    count = QUICK if options.quick else CONVERSATIONS
    trained = train_answerable({lang: simulated(lang, count) for lang in LANGUAGES}, embedder.queries)
    assert trained is not None  # the shop has unanswerable questions in both languages
    known, build = trained
    figures: dict[str, dict[str, float]] = {}
    for lang in LANGUAGES:
        rows = [row for path in sorted((SHOP / lang).glob("questions*.jsonl")) for row in read_rows(Question, path)]
        vectors = embedder.queries([row.question for row in rows])
        answerable = np.array([row.answerable for row in rows])
        scores = np.array([known.score(vector, lang) for vector in vectors])
        level = levels(known, vectors, lang)
        yes, no = scores[answerable], scores[~answerable]
        figure = figures[lang] = {
            "answerable": float(answerable.sum()),
            "unanswerable": float((~answerable).sum()),
            "auc": float((yes[:, None] > no[None]).mean()),
            "rightly at 5 %": float((no < np.quantile(yes, 0.05)).mean()),
        }
        for rate in RATES:
            figure[f"wrongly, bound {rate}"] = float((level[answerable] < rate).mean())
            figure[f"rightly, bound {rate}"] = float((level[~answerable] < rate).mean())
        try:
            _, queries = load_set(options.data / "retrieval" / f"bitcoin_faq_{lang}")
            foreign = levels(known, embedder.queries([query.text for query in queries]), lang)
            figure["foreign, bound 0.1"] = float((foreign < 0.1).mean())
        except EdgedeskError as error:
            print(f"{lang}: foreign questions not measured: {error}")
    names = list(dict.fromkeys(name for row in figures.values() for name in row))
    for name in names:
        print(
            f"{name:<22}" + "".join(f"{lang:>4} {row.get(name, float('nan')):>8.3f}" for lang, row in figures.items())
        )
    print("the build's own held-out curve:", json.dumps(build))
    try:
        other = banking_figures(options.data, embedder, known)
    except EdgedeskError as error:
        print(f"banking77 not measured: {error}")
        other = {}
    for name, value in other.items():
        print(f"banking77, {name:<46}{value:>8.3f}")
    holds = all(
        row["auc"] >= BAR["auc"]
        and row["rightly, bound 0.1"] >= BAR["refused_rightly"]
        and row["wrongly, bound 0.1"] <= BAR["refused_wrongly"]
        for row in figures.values()
    )
    for who, bar in (("own", BAR), ("shop's", OTHER_BAR)):
        holds = holds and other.get(f"{who}: rightly, bound 0.1", 0.0) >= bar["refused_rightly"]
        holds = holds and other.get(f"{who}: wrongly, bound 0.1", 1.0) <= bar["refused_wrongly"]
    if options.json:
        bars = {**BAR, "other company": OTHER_BAR}
        print(
            json.dumps({"name": "answerable", "figures": {**figures, "banking77": other}, "bar": bars, "holds": holds})
        )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
