"""How often heads are right, and whether their confidence is to be believed.

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
    heads: Mapping[str, LinearClassifier], questions: Iterable[Question], embedder: Embedder
) -> dict[str, Any]:
    """{"intent": {tested, accuracy, macro_f1, ece, unknown}} over the questions that name one; {} without a head.

    `unknown` counts questions whose intent the head never learned: they are wrong in `accuracy_of_all`.
    """
    head = heads.get("intent")
    asked = [(one.question, one.intent) for one in questions if one.intent]
    if head is None or not asked:
        return {}
    return {"intent": measure_on_labelled(head, asked, embedder)}


def measure_on_labelled(head: LinearClassifier, rows: Sequence[tuple[str, str]], embedder: Embedder) -> dict[str, Any]:
    """`measure` of (text, label) rows, with `unknown` labels counted, and `accuracy_of_all` with those as errors."""
    known = [(text, head.labels.index(label)) for text, label in rows if label in head.labels]
    unknown = len(rows) - len(known)
    if not known:
        return {"tested": 0, "unknown": unknown}
    texts = [text for text, _ in known]
    figures = measure(head, texts, embedder.queries(texts), np.array([label for _, label in known]))
    return {
        **figures,
        "unknown": unknown,
        "accuracy_of_all": round(figures["accuracy"] * len(known) / len(rows), 4),
    }


def measure(
    head: LinearClassifier, texts: Sequence[str], vectors: NDArray[np.float32], gold: NDArray[np.int64]
) -> dict[str, Any]:
    """`{tested, accuracy, macro_f1, ece}` on examples, `gold` as places in the head's labels."""
    chances = head.probabilities(texts, vectors)
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
