"""Claim: before anything is shown, the desk tells questions that the articles answer from those that they do not.

The classifier is the build's (`distill.classifiers.answerable_training`), trained here on simulated conversations of
the example shop alone. It judges the shop's hand-written questions in both languages, which no training saw: the area
under the curve (AUC), and the unanswerable refused where the policy allows a share of the answerable to be refused.
Two rows say what it cannot: `at 5 %` uses the hand-written questions themselves to find the bound, and `foreign` asks
the public FAQs' questions, none of which the shop answers.

    python benchmarks/answerable.py --embedder FOLDER [--data ../shared/data] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from _retrieval_sets import DATA, SHOP
from numpy.typing import NDArray

from distill.classifiers.answerable_training import AskedQuestion, train_answerable
from distill.data.simulate import simulate
from runtime.base.home import find_home
from runtime.base.jsonl import read_rows
from runtime.bundle.generations import current_bundle
from runtime.errors import EdgedeskError
from runtime.evaluation.retrieval import load_set
from runtime.retrieval.embedder import Embedder
from runtime.text.records import Question
from runtime.understanding.answerable_classifier import AnswerableClassifier

LANGUAGES = ("en", "zh")
RATES = (0.05, 0.1)
BAR = {"auc": 0.85, "refused_rightly": 0.6, "refused_wrongly": 0.05}
CONVERSATIONS, QUICK = 4000, 400


def simulated(lang: str, count: int) -> list[AskedQuestion]:
    """First questions of the shop's simulated conversations; the group is the reply, or how a refused question ends."""
    out: dict[str, AskedQuestion] = {}
    for talk in simulate(SHOP / lang, conversations=count, seed=7):
        asked, reply = talk.turns[0], talk.turns[1]
        answered = bool(asked.evidence)
        group = reply.content if answered else asked.content[-16:]
        out[asked.content] = AskedQuestion(asked.content, answered, group)
    return list(out.values())


def levels(known: AnswerableClassifier, vectors: NDArray[np.float32], lang: str) -> NDArray[np.float64]:
    """Of each question: the share of answerable ones that look less answerable."""
    return np.array([known.level(vector, lang) for vector in vectors])


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
    holds = all(
        row["auc"] >= BAR["auc"]
        and row["rightly, bound 0.1"] >= BAR["refused_rightly"]
        and row["wrongly, bound 0.1"] <= BAR["refused_wrongly"]
        for row in figures.values()
    )
    if options.json:
        print(json.dumps({"name": "answerable", "figures": figures, "bar": BAR, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
