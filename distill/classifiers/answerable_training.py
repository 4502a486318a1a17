"""Trains the classifier of answerable questions: questions that an article answered against those that none did.

    first questions of records  ->  vectors  ->  standardised within each language  ->  difference of the two means

The direction is that of a nearest-mean classifier: with a few hundred questions a logistic regression, however strongly
held back, does no better on hand-written ones (docs/log.md). Levels are scores of answerable questions in five folds,
each scored by a direction that saw neither them nor questions with the same reply. Promises: the same records give the
same classifier. Knows nothing of the desk.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from runtime.text.records import Record
from runtime.understanding.answerable_classifier import AnswerableClassifier, LanguageScale

MOST = 1000
"""Questions of a kind and language that are embedded: some seconds on two cores."""
LEAST = 20
"""Of each kind; a language with fewer is left out."""
FOLDS = 5
LEVELS = 201
RATES = (0.02, 0.05, 0.1, 0.2)
"""Shares of answerable questions refused, for which the figures say how many of the others are."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Unit vectors [n, d] of questions."""


class AskedQuestion(NamedTuple):
    """A question, whether an article answered it, and what keeps questions alike in one fold."""

    text: str
    answered: bool
    group: str


def questions_by_language(records: Iterable[Record]) -> dict[str, list[AskedQuestion]]:
    """The first questions of conversations, each text once, by language: a later one may lean on what was said."""
    out: defaultdict[str, dict[str, AskedQuestion]] = defaultdict(dict)
    for record in records:
        if not record.context:
            # Refusals share one reply; what distinguishes the questions they answer is how these end.
            group = record.response if record.evidence else record.query[-16:]
            out[record.lang][record.query] = AskedQuestion(record.query, bool(record.evidence), group)
    return {lang: list(rows.values()) for lang, rows in sorted(out.items())}


def train_answerable(
    questions: dict[str, list[AskedQuestion]], embed: Embed, *, seed: int = 7
) -> tuple[AnswerableClassifier, dict[str, Any]] | None:
    """The classifier and its figures by language: `{answered, unanswered, auc, refused: {rate: share}}`.

    None where no language has `LEAST` questions of each kind.
    """
    kept = {lang: _sample(rows, seed) for lang, rows in questions.items()}
    kept = {
        lang: rows
        for lang, rows in kept.items()
        if min(sum(row.answered for row in rows), sum(not row.answered for row in rows)) >= LEAST
    }
    if not kept:
        return None
    vectors = {lang: embed([row.text for row in rows]) for lang, rows in kept.items()}
    answered = {lang: np.array([row.answered for row in rows]) for lang, rows in kept.items()}
    folds = {lang: np.array([crc32(row.group.encode()) % FOLDS for row in rows]) for lang, rows in kept.items()}
    held = {lang: np.zeros(len(rows)) for lang, rows in kept.items()}
    for fold in range(FOLDS):
        seen = {lang: folds[lang] != fold for lang in kept}
        if not any((~one).any() for one in seen.values()):
            continue
        part = _fit(
            {lang: vectors[lang][seen[lang]] for lang in kept}, {lang: answered[lang][seen[lang]] for lang in kept}
        )
        for lang, mask in seen.items():
            held[lang][~mask] = [part.score(vector, lang) for vector in vectors[lang][~mask]]
    whole = _fit(vectors, answered)
    grid = np.linspace(0, 1, LEVELS)
    languages, figures = {}, {}
    for lang, scale in whole.languages.items():
        yes, no = held[lang][answered[lang]], held[lang][~answered[lang]]
        languages[lang] = LanguageScale(scale.mean, scale.scale, np.quantile(yes, grid).astype(np.float32))
        figures[lang] = {
            "answered": len(yes),
            "unanswered": len(no),
            "auc": round(float((yes[:, None] > no[None]).mean()), 4),
            "refused": {str(rate): round(float((no < np.quantile(yes, rate)).mean()), 4) for rate in RATES},
        }
    return AnswerableClassifier(whole.weights, languages), figures


def _fit(vectors: dict[str, NDArray[np.float32]], answered: dict[str, NDArray[np.bool_]]) -> AnswerableClassifier:
    """The sum of the languages' directions; what a language has few of it borrows from the others."""
    languages = {}
    weights = np.zeros(next(iter(vectors.values())).shape[1], dtype=np.float32)
    for lang, rows in vectors.items():
        # What hardly varies in one language may weigh much in another: it must not be blown up when it does appear.
        mean, spread = rows.mean(axis=0), rows.var(axis=0)
        scale = np.sqrt(spread + 0.05 * spread.mean())
        apart, yes = (rows - mean) / scale, answered[lang]
        if yes.any() and not yes.all():
            weights += apart[yes].mean(axis=0) - apart[~yes].mean(axis=0)
        languages[lang] = LanguageScale(mean, scale, np.zeros(2, dtype=np.float32))
    return AnswerableClassifier(weights, languages)


def _sample(rows: Sequence[AskedQuestion], seed: int) -> list[AskedQuestion]:
    rng = random.Random(seed)  # noqa: S311 - a choice, no secret
    out = []
    for kind in (True, False):
        some = [row for row in rows if row.answered is kind]
        out += some if len(some) <= MOST else rng.sample(some, MOST)
    return out
