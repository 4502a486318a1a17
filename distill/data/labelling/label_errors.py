"""Finds labels that the other examples speak against, by confident learning (Northcutt et al., arXiv:1911.00068).

    texts, labels -> out-of-fold probabilities of a linear classifier -> cleanlab's margins -> a list, the worst first

The classifier reads words, pairs of words and runs of letters, and the encoder's vectors where they are given, so it
works in any language and without a model too. Promises: each example's probability comes from a classifier that has
not seen it; the same input gives the same list. Knows nothing of records and review sheets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError

FOLDS = 5
MIN_EXAMPLES = FOLDS
"""Of a label; what is rarer cannot be in every fold, and is not judged."""
_MAX_FEATURES = 60_000
_RIDGE = 1.0
_SHARPNESS = 6.0
"""What the regression's scores, -1/(labels - 1) to 1, are multiplied by before the softmax."""
_VECTOR_SCALE = 2.0
"""How much the encoder's vectors count beside the words, which have unit length."""


class LabelError(NamedTuple):
    """A label that is probably wrong."""

    place: int
    """Of the example, in the order given."""
    given: str
    suggested: str
    confidence: float
    """Probability of the suggested label less that of the given one, -1 to 1."""


def find_label_errors(
    texts: Sequence[str],
    labels: Sequence[str],
    vectors: NDArray[np.float32] | None = None,
    *,
    most: int | None = None,
    seed: int = 7,
) -> list[LabelError]:
    """Suspicious labels, the worst first: at most `most`, or as many as cleanlab estimates there are.

    `vectors` are unit vectors [n, d] of the texts. `InputError` when fewer than two labels have examples enough.
    """
    from cleanlab.filter import find_label_issues  # with scikit-learn it takes seconds to load

    often = Counter(labels)
    known = sorted(label for label, count in often.items() if count >= MIN_EXAMPLES)
    if len(known) < 2:
        raise InputError(
            f"no label errors can be found: {len(known)} of {len(often)} labels have {MIN_EXAMPLES} examples",
            hint="two labels with five examples each are needed",
        )
    number = {label: place for place, label in enumerate(known)}
    rows = np.array([place for place, label in enumerate(labels) if label in number])
    given = np.array([number[labels[row]] for row in rows])
    chances = _out_of_fold(
        [texts[row] for row in rows], given, vectors[rows] if vectors is not None else None, len(known), seed
    )
    each = np.arange(len(rows))
    margin = chances[each, given] - _best_other(chances, given)
    if most is None:
        ranked = find_label_issues(given, chances, return_indices_ranked_by="normalized_margin", n_jobs=1)
    else:
        ranked = np.argsort(margin, kind="stable")[:most]
    found = []
    for row in ranked.tolist():
        other = chances[row].copy()
        other[given[row]] = -1
        best = int(other.argmax())
        found.append(LabelError(int(rows[row]), known[given[row]], known[best], round(float(-margin[row]), 4)))
    return found


def _best_other(chances: NDArray[np.float64], given: NDArray[np.int64]) -> NDArray[np.float64]:
    others = chances.copy()
    others[np.arange(len(given)), given] = -1
    best: NDArray[np.float64] = others.max(axis=1)
    return best


def _out_of_fold(
    texts: Sequence[str], given: NDArray[np.int64], vectors: NDArray[np.float32] | None, kinds: int, seed: int
) -> NDArray[np.float64]:
    """Probabilities [n, kinds], each row by a classifier that was not fitted on it."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import StratifiedKFold

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=_MAX_FEATURES, min_df=2)
    letters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=_MAX_FEATURES, min_df=2
    )
    parts: list[Any] = [part for part in (_fitted(words, texts), _fitted(letters, texts)) if part is not None]
    if vectors is not None:
        parts.append(csr_matrix(vectors * _VECTOR_SCALE))
    features = hstack(parts).tocsr()
    chances = np.zeros((len(texts), kinds))
    for train, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, given):
        chances[held] = _fit_and_ask(features[train], given[train], features[held], kinds)
    return chances


def _fitted(vectorizer: Any, texts: Sequence[str]) -> Any:
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # no word comes twice
        return None


def _fit_and_ask(train: Any, given: NDArray[np.int64], held: Any, kinds: int) -> NDArray[np.float64]:
    """Ridge regression onto the labels, whose scores a softmax turns into probabilities.

    A few wrong labels move it less than a logistic loss, which bends itself to each of them.
    """
    from sklearn.linear_model import Ridge

    targets = np.full((len(given), kinds), -1.0 / max(kinds - 1, 1))
    targets[np.arange(len(given)), given] = 1.0
    model = Ridge(alpha=_RIDGE, solver="sparse_cg", tol=1e-3)
    scores = model.fit(train, targets).predict(held) * _SHARPNESS
    scores -= scores.max(axis=1, keepdims=True)
    shares = np.exp(scores)
    chances: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return chances
