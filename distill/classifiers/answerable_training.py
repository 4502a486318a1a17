"""Trains the classifier of answerable questions: questions that an article answered against those that none did.

    first questions of records  ->  vectors  ->  standardised within each language  ->  difference of the two means
                                             ->  kernel regression to the sections that answered them

The direction is that of a nearest-mean classifier: with a few hundred questions a logistic regression, however strongly
held back, does no better on hand-written ones (docs/log.md). Levels are scores of answerable questions in five folds,
each scored by what saw neither them nor questions with the same reply. How surely a question belongs to a known section
counts as much as the held-out questions want it to: the least share whose area under the curve is within two standard
errors (Hanley and McNeil 1982) of the best, so that what is simpler stays unless it is clearly worse. Among questions
of one subject it tells what the direction cannot. Promises: the same records give the same classifier. Knows nothing
of the desk.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from runtime.text.records import Record
from runtime.understanding.answerable_classifier import (
    SHARPNESS,
    AnswerableClassifier,
    KnownQuestions,
    LanguageScale,
)

MOST = 1000
"""Questions of a kind and language that are embedded: some seconds on two cores."""
LEAST = 20
"""Of each kind; a language with fewer is left out."""
FOLDS = 5
LEVELS = 201
RATES = (0.02, 0.05, 0.1, 0.2)
"""Shares of answerable questions refused, for which the figures say how many of the others are."""

SHARES = (0.0, 0.5, 1.0, 2.0)
"""Of a question's belonging beside the direction, in standard deviations of answerable ones: what is tried."""
RIDGE = 0.1

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Unit vectors [n, d] of questions."""


class AskedQuestion(NamedTuple):
    """A question, whether an article answered it, and what keeps questions alike in one fold."""

    text: str
    answered: bool
    group: str
    section: str = ""
    """What answered it."""


def questions_by_language(records: Iterable[Record]) -> dict[str, list[AskedQuestion]]:
    """The first questions of conversations, each text once, by language: a later one may lean on what was said."""
    out: defaultdict[str, dict[str, AskedQuestion]] = defaultdict(dict)
    for record in records:
        if not record.context:
            # Refusals share one reply; what distinguishes the questions they answer is how these end.
            group = record.response if record.evidence else record.query[-16:]
            section = record.evidence[0] if record.evidence else ""
            out[record.lang][record.query] = AskedQuestion(record.query, bool(section), group, section)
    return {lang: list(rows.values()) for lang, rows in sorted(out.items())}


def train_answerable(
    questions: dict[str, list[AskedQuestion]], embed: Embed, *, seed: int = 7
) -> tuple[AnswerableClassifier, dict[str, Any]] | None:
    """The classifier and its figures by language: `{answered, unanswered, auc, share, refused: {rate: share}}`.

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
    along = {lang: np.zeros(len(rows)) for lang, rows in kept.items()}
    belonging = {lang: np.zeros(len(rows)) for lang, rows in kept.items()}
    for fold in range(FOLDS):
        seen = {lang: folds[lang] != fold for lang in kept}
        if not any((~one).any() for one in seen.values()):
            continue
        part = _fit(
            {lang: vectors[lang][seen[lang]] for lang in kept}, {lang: answered[lang][seen[lang]] for lang in kept}
        )
        for lang, mask in seen.items():
            along[lang][~mask] = [part.score(vector, lang) for vector in vectors[lang][~mask]]
            if known := _regress(vectors[lang][mask], [row for row, one in zip(kept[lang], mask, strict=True) if one]):
                belonging[lang][~mask] = known.belonging(vectors[lang][~mask])
    whole = _fit(vectors, answered)
    grid = np.linspace(0, 1, LEVELS)
    languages, figures = {}, {}
    for lang, scale in whole.languages.items():
        yes = answered[lang]
        unit = float(along[lang][yes].std() / max(belonging[lang][yes].std(), 1e-9))
        share = _choose_share(along[lang], unit * belonging[lang], yes)
        known = _regress(vectors[lang], kept[lang]) if share else None
        held = along[lang] + share * unit * belonging[lang]
        high, low = held[yes], held[~yes]
        levels = np.quantile(high, grid).astype(np.float32)
        languages[lang] = replace(scale, levels=levels, known=known and replace(known, share=share * unit))
        figures[lang] = {
            "answered": len(high),
            "unanswered": len(low),
            "auc": round(_area(high, low), 4),
            "share": share,
            "refused": {str(rate): round(float((low < np.quantile(high, rate)).mean()), 4) for rate in RATES},
        }
    return AnswerableClassifier(whole.weights, languages), figures


def _choose_share(along: NDArray[np.float64], belonging: NDArray[np.float64], answered: NDArray[np.bool_]) -> float:
    """The least of `SHARES` that is not clearly worse than the best; `belonging` in the same unit as `along`."""
    held = [along + share * belonging for share in SHARES]
    areas = [_area(scores[answered], scores[~answered]) for scores in held]
    best = max(areas)
    least = best - 2 * _area_error(best, int(answered.sum()), int((~answered).sum()))
    return next(share for share, area in zip(SHARES, areas, strict=True) if area >= least)


def _area(yes: NDArray[np.float64], no: NDArray[np.float64]) -> float:
    """The share of pairs in which the answerable question has the larger score (AUC); ties count half."""
    above, level = yes[:, None] > no[None], yes[:, None] == no[None]
    return float(above.mean() + level.mean() / 2)


def _area_error(area: float, yes: int, no: int) -> float:
    """The standard error of an area under the curve of so many questions of each kind; one of them may always err."""
    area = min(area, 1 - 1 / min(yes, no))
    of_yes, of_no = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (yes - 1) * (of_yes - area**2) + (no - 1) * (of_no - area**2)
    return float(np.sqrt(max(spread, 0.0) / (yes * no)))


def _regress(vectors: NDArray[np.float32], rows: Sequence[AskedQuestion]) -> KnownQuestions | None:
    """Kernel ridge regression from questions to the sections that answered them; None where no section is named."""
    chosen = [number for number, row in enumerate(rows) if row.section]
    if not chosen:
        return None
    names = {name: column for column, name in enumerate(sorted({rows[number].section for number in chosen}))}
    wanted = np.zeros((len(chosen), len(names)))
    wanted[np.arange(len(chosen)), [names[rows[number].section] for number in chosen]] = 1
    known = vectors[chosen]
    kernel = np.exp(SHARPNESS * (known @ known.T - 1)).astype(np.float64)
    answers = np.linalg.solve(kernel + RIDGE * np.eye(len(chosen)), wanted)
    return KnownQuestions(known, answers.astype(np.float32))


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
