"""Measures how often classifiers are right, and how far their confidence can be trusted.

Promises: figures are of the examples given and of nothing else. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.retrieval.embedder import Embedder
from runtime.text.records import Question
from runtime.understanding.linear_classifier import LinearClassifier

_BINS = 15


def measure_on_questions(
    classifiers: Mapping[str, LinearClassifier], questions: Iterable[Question], embedder: Embedder
) -> dict[str, Any]:
    """{"intent": {tested, accuracy, macro_f1, ece, unknown}} over the questions that name one; {} without a classifier.

    `unknown` counts questions whose intent the classifier never learned: they are errors in `accuracy_of_all`.
    """
    classifier = classifiers.get("intent")
    asked = [(one.question, one.intent) for one in questions if one.intent]
    if classifier is None or not asked:
        return {}
    return {"intent": measure_on_labelled(classifier, asked, embedder)}


def measure_on_labelled(
    classifier: LinearClassifier, rows: Sequence[tuple[str, str]], embedder: Embedder
) -> dict[str, Any]:
    """`measure` of (text, label) rows, with `unknown` labels counted, and `accuracy_of_all` with those as errors."""
    known = [(text, classifier.labels.index(label)) for text, label in rows if label in classifier.labels]
    unknown = len(rows) - len(known)
    if not known:
        return {"tested": 0, "unknown": unknown}
    texts = [text for text, _ in known]
    figures = measure(classifier, texts, embedder.queries(texts), np.array([label for _, label in known]))
    return {
        **figures,
        "unknown": unknown,
        "accuracy_of_all": round(figures["accuracy"] * len(known) / len(rows), 4),
    }


def measure(
    classifier: LinearClassifier, texts: Sequence[str], vectors: NDArray[np.float32], gold: NDArray[np.int64]
) -> dict[str, Any]:
    """`{tested, accuracy, macro_f1, ece}` on examples, `gold` as places in the classifier's labels."""
    chances = classifier.probabilities(texts, vectors)
    said = chances.argmax(axis=1)
    scores = []
    for label in np.unique(gold):
        hit = int(((said == label) & (gold == label)).sum())
        scores.append(2 * hit / max(int((said == label).sum() + (gold == label).sum()), 1))
    return {
        "tested": len(gold),
        "accuracy": round(float((said == gold).mean()), 4),
        "macro_f1": round(float(np.mean(scores)), 4),
        "ece": round(calibration_error(chances.max(axis=1), said == gold), 4),
    }


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: the gap between confidence and accuracy, over 15 bins of equal width."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = (abs(confidence[bins == one].sum() - right[bins == one].sum()) for one in range(_BINS))
    return float(sum(gaps) / max(len(confidence), 1))
