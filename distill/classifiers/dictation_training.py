"""Trains the dictation classifier: the company's own sentences on one side, sentences that dictate on the other.

    sentences of articles, filled templates  ->  vectors  ->  logistic regression (L-BFGS)  ->  threshold

The threshold is where at most `FALSE` of the company's sentences, each judged by a classifier that was trained without
its article, would be taken for dictation. Promises: the same articles give the same classifier. A hostile sentence that
is in the articles already is one of many on the honest side and hardly moves the boundary; it is among those listed.
Knows nothing of the desk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.classifiers.attack_templates import load_templates
from runtime.errors import InputError
from runtime.text.articles import Article
from runtime.text.sentences import sentences
from runtime.understanding.dictation_classifier import LinearBoundary, sentence_key

FALSE = 0.005
"""Share of the company's own sentences that may be withheld by mistake."""
FOLDS = 5
"""Of the articles; each is judged by a classifier trained on the others."""
MIN_SENTENCES = 50
MAX_SENTENCES = 20_000
FILLED = 5
"""Payloads put into each form."""
_PENALTY = 0.01
_STEPS = 200

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Unit vectors [n, d] of texts."""


def train_dictation(
    articles: Sequence[Article], embed: Embed, *, seed: int = 7
) -> tuple[LinearBoundary, dict[str, Any]]:
    """The classifier and its figures: `{sentences, dictated, withheld: [sentences judged dictation when held out]}`.

    `InputError` when there are too few sentences to train on.
    """
    pairs = [
        (number, sentence)
        for number, article in enumerate(articles)
        for section in article.sections
        for sentence in sentences(section.text)
    ]
    rng = random.Random(seed)  # noqa: S311 - a choice, no secret
    if len(pairs) > MAX_SENTENCES:
        pairs = sorted(rng.sample(pairs, MAX_SENTENCES))
    if len(pairs) < MIN_SENTENCES:
        raise InputError(
            f"need at least {MIN_SENTENCES} sentences to train the dictation classifier; found {len(pairs)}",
            hint="add articles",
        )
    texts = [text for _, text in pairs]
    honest, dictated = embed(texts), embed(load_templates().fill(rng, FILLED))
    fold = np.array([number for number, _ in pairs]) % FOLDS
    scores = np.zeros(len(texts), dtype=np.float32)
    for held in range(FOLDS):
        if (fold == held).any() and (fold != held).any():
            scores[fold == held] = _fit(honest[fold != held], dictated).scores(honest[fold == held])
    threshold = float(np.quantile(scores, 1 - FALSE))
    withheld = [text for text, score in zip(texts, scores, strict=True) if score > threshold]
    boundary = replace(_fit(honest, dictated), threshold=threshold)
    judged = (boundary.scores(honest) > threshold).tolist()
    # The branch looks these sentences up, so that its encoder need not be loaded for the company's own articles.
    boundary = replace(boundary, judged={sentence_key(text): bad for text, bad in zip(texts, judged, strict=True)})
    return boundary, {"sentences": len(texts), "dictated": len(dictated), "withheld": withheld}


def _fit(honest: NDArray[np.float32], dictated: NDArray[np.float32]) -> LinearBoundary:
    """Logistic regression, both sides weighing alike."""
    import torch  # takes seconds to load, and only training needs it

    both = np.concatenate([honest, dictated])
    mean, scale = both.mean(axis=0), both.std(axis=0) + 1e-6
    given = torch.from_numpy((both - mean) / scale)
    truth = torch.cat([torch.zeros(len(honest)), torch.ones(len(dictated))])
    weigh = torch.tensor(len(honest) / len(dictated))
    weights = torch.zeros(given.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    steps = torch.optim.LBFGS([weights, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        steps.zero_grad()
        miss = torch.nn.functional.binary_cross_entropy_with_logits(given @ weights + bias, truth, pos_weight=weigh)
        total = miss + _PENALTY * (weights**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    steps.step(loss)  # type: ignore[no-untyped-call]
    return LinearBoundary(mean, scale, weights.detach().numpy(), float(bias.detach()), 0.0)
