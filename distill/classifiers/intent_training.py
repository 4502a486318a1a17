"""Trains an intent or emotion classifier on the vectors of the bundle's own encoder.

    texts with labels  ->  vectors  ->  kernel regression (closed form) + logistic regression (L-BFGS)  ->  calibrated

A part is held back: on one half of it the mixture and the temperature are chosen (Guo et al., arXiv:1706.04599), on the
other accuracy, macro-F1 and the expected calibration error are measured; all of it says how familiar a question of a
known kind is. Then both models are fitted again on everything. Promises: the same examples give the same classifier.
Knows nothing of records and bundles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.base.statistics import log_softmax
from runtime.errors import InputError
from runtime.evaluation.classifiers import measure
from runtime.understanding.linear_classifier import (
    Familiarity,
    LinearClassifier,
    hash_features,
    standardize,
    weigh_features,
)

MAX_CENTERS = 8192
"""Known questions that the kernel compares with; the fit needs memory in proportion to its square."""
RIDGE = 0.2
GAMMA = 2.0
GRAM_SCALE = 10.0
"""n-gram vectors have unit length; scaled by this, their weights can grow against the penalty."""
HELD_BACK = 0.2
FOLDS = 5
FALSE_ALARMS = 0.05
"""Of questions of known kinds, where the share of unknown ones that is found is told."""
MIN_EXAMPLES = 2
"""Of a label; a rarer one cannot be learned and measured, and is left out."""
_STEPS = 60


@dataclass(frozen=True)
class Example:
    """A question with its label."""

    text: str
    label: str


def train_classifier(
    examples: Sequence[Example], embed: Callable[[Sequence[str]], NDArray[np.float32]], *, seed: int = 7
) -> tuple[LinearClassifier, dict[str, Any]]:
    """A classifier and its figures on examples it was not fitted on; `embed` gives unit vectors [n, d] of questions.

    `InputError` when there are not two labels with examples enough.
    """
    common = {name for name, count in Counter(example.label for example in examples).items() if count >= MIN_EXAMPLES}
    kept = [example for example in examples if example.label in common]
    labels = tuple(sorted(common))
    if len(labels) < 2:
        raise InputError("a classifier needs two labels with two examples each", hint="label more questions")
    texts = [example.text for example in kept]
    vectors = embed(texts)
    gold = np.array([labels.index(example.label) for example in kept])
    back = _held_back(gold, seed)
    fit, choose, test = np.flatnonzero(~back), np.flatnonzero(back)[::2], np.flatnonzero(back)[1::2]

    def part(where: NDArray[np.int64]) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64]]:
        return [texts[index] for index in where], vectors[where], gold[where]

    classifier = _calibrated(_fit(*part(fit), labels, seed), *part(choose))
    figures = {"labels": len(labels), "examples": len(kept), **measure(classifier, *part(test))}
    known = Familiarity.of(classifier.nearness(vectors[back]))
    everything = _fit(texts, vectors, gold, labels, seed)
    sharpness, mix, temperature = classifier.sharpness, classifier.mix, classifier.temperature
    fitted = replace(everything, sharpness=sharpness, mix=mix, temperature=temperature, familiar=known)
    return fitted, figures


def cross_validate(
    examples: Sequence[Example],
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    *,
    count: int = FOLDS,
    seed: int = 1,
    advance: Callable[[int], None] = lambda _folds: None,
) -> dict[str, Any]:
    """Stratified five-fold cross-validation: figures on each fold by a classifier trained on the other four.

    `{labels, trained, tested, accuracy, macro_f1, ece, each: [accuracy]}`: of the first `count` folds, which share no
    example; shares are means weighted by the examples tested. With 10,000 examples, one fold has a standard error of
    about a point, all five of half a point.
    """
    names = sorted({example.label for example in examples})
    gold = np.array([names.index(example.label) for example in examples])
    part = _folds(gold, seed)
    vectors = embed([example.text for example in examples])
    place = {example.text: row for row, example in enumerate(examples)}
    rows = []
    for held in range(count):
        rest = [example for example, number in zip(examples, part, strict=True) if number != held]
        classifier, _ = train_classifier(rest, lambda texts: vectors[[place[text] for text in texts]])
        own = [row for row in np.flatnonzero(part == held).tolist() if examples[row].label in classifier.labels]
        truth = np.array([classifier.labels.index(examples[row].label) for row in own])
        found = measure(classifier, [examples[row].text for row in own], vectors[own], truth)
        rows.append({"labels": len(classifier.labels), "trained": len(rest), **found})
        advance(1)
    tested = [row["tested"] for row in rows]
    means = {
        name: round(float(np.average([row[name] for row in rows], weights=tested)), 4)
        for name in ("accuracy", "macro_f1", "ece")
    }
    fewest = {name: min(row[name] for row in rows) for name in ("labels", "trained")}
    return {**fewest, "tested": sum(tested), **means, "each": [row["accuracy"] for row in rows]}


def measure_on_test(
    train: Sequence[Example], tested: Sequence[Example], embed: Callable[[Sequence[str]], NDArray[np.float32]]
) -> dict[str, Any]:
    """Figures on a set of its own by a classifier of `train`.

    `{labels, trained, tested, accuracy, macro_f1, ece, unknown}`: rows whose label `train` has not are `unknown` and
    count in no other figure but these two, which say how well they are told from the rest by familiarity:
    `unknown_found`, their share below the bound that 5 % of the other rows fall short of, and `unknown_auc`.
    """
    classifier, _ = train_classifier(train, embed)
    texts = [example.text for example in tested]
    vectors = embed(texts)
    known = np.array([example.label in classifier.labels for example in tested])
    if not known.any():
        raise InputError("no row of the test file has a label of the training file", hint="give files of one task")
    own = np.flatnonzero(known).tolist()
    truth = np.array([classifier.labels.index(tested[row].label) for row in own])
    figures: dict[str, Any] = {
        "labels": len(classifier.labels),
        "trained": len(train),
        **measure(classifier, [texts[row] for row in own], vectors[own], truth),
        "unknown": int((~known).sum()),
    }
    if classifier.familiar and not known.all():
        levels = classifier.familiar.score(classifier.nearness(vectors))
        inside, outside = levels[known], levels[~known]
        figures["unknown_found"] = round(float((outside < np.quantile(inside, FALSE_ALARMS)).mean()), 4)
        figures["unknown_auc"] = round(float((inside[:, None] > outside[None]).mean()), 4)
    return figures


def _folds(gold: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold [n] that each example is in, stratified: those of every label are dealt out by chance, in turn."""
    fold = np.zeros(len(gold), dtype=np.int64)
    for rows in _shuffled_by_label(gold, seed):
        fold[rows] = np.arange(len(rows)) % FOLDS
    return fold


def _held_back(gold: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """A fifth of every label [n], at least one of two."""
    back = np.zeros(len(gold), dtype=bool)
    for rows in _shuffled_by_label(gold, seed):
        back[rows[: max(1, round(HELD_BACK * len(rows)))]] = True
    return back


def _shuffled_by_label(gold: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.int64]]:
    """The rows of each label in an order that depends on the seed alone."""
    rng = np.random.default_rng(seed)
    for label in np.unique(gold):
        yield rng.permutation(np.flatnonzero(gold == label))


def _fit(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    gold: NDArray[np.int64],
    labels: tuple[str, ...],
    seed: int,
) -> LinearClassifier:
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
    chosen = np.arange(len(gold))
    if len(chosen) > MAX_CENTERS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAX_CENTERS, replace=False))
    centers = standardize(vectors[chosen], mean, scale)
    buckets, rarity, grams, bias = _fit_grams(texts, gold, len(labels))
    return LinearClassifier(
        labels=labels,
        mean=mean,
        scale=scale,
        centers=centers,
        weights=_fit_kernel(centers, gold[chosen], len(labels)),
        gamma=GAMMA,
        buckets=buckets,
        rarity=rarity,
        grams=grams,
        bias=bias,
        sharpness=10.0,
        mix=0.5,
        temperature=1.0,
    )


def _fit_kernel(centers: NDArray[np.float32], gold: NDArray[np.int64], kinds: int) -> NDArray[np.float32]:
    """Ridge regression onto the labels in the kernel's space: solve (K + RIDGE·I) w = targets."""
    near = np.exp(GAMMA * (centers @ centers.T - 1))
    near[np.diag_indices(len(near))] += RIDGE
    targets = np.full((len(gold), kinds), -1 / (kinds - 1), dtype=np.float32)
    targets[np.arange(len(gold)), gold] = 1
    weights: NDArray[np.float32] = np.linalg.solve(near, targets).astype(np.float32)
    return weights


def _fit_grams(
    texts: Sequence[str], gold: NDArray[np.int64], kinds: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Multinomial logistic regression over hashed n-grams: (buckets, rarity, weights, bias)."""
    import torch  # takes seconds to load, and the command that lists options does not need it

    counts = [hash_features(text) for text in texts]
    often = Counter(bucket for one in counts for bucket in one)
    buckets = np.array(sorted(bucket for bucket, times in often.items() if times > 1), dtype=np.int64)
    seen = np.array([often[int(bucket)] for bucket in buckets], dtype=np.float32)
    rarity = (np.log((1 + len(texts)) / (1 + seen)) + 1).astype(np.float32)
    rows = [weigh_features(one, buckets, rarity) for one in counts]
    down = np.repeat(np.arange(len(rows)), [len(where) for where, _ in rows])
    across = np.concatenate([where for where, _ in rows])
    values = torch.from_numpy(np.concatenate([weight for _, weight in rows]) * np.float32(GRAM_SCALE))
    size = (len(texts), len(buckets))
    given = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([down, across])), values, size, check_invariants=True
    ).coalesce()
    turned = given.t().coalesce()
    weights = torch.zeros(len(buckets), kinds, requires_grad=True)
    bias = torch.zeros(kinds, requires_grad=True)
    target = torch.from_numpy(gold)
    each = torch.arange(len(texts))
    steps = torch.optim.LBFGS([weights, bias], max_iter=_STEPS, history_size=6, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        with torch.no_grad():
            logs = torch.log_softmax(torch.sparse.mm(given, weights) + bias, dim=1)
            off = logs.exp()
            off[each, target] -= 1
            off /= len(texts)
            weights.grad = torch.sparse.mm(turned, off) + weights / len(texts)
            bias.grad = off.sum(dim=0)
            return -logs[each, target].mean() + (weights**2).sum() / (2 * len(texts))

    steps.step(loss)  # type: ignore[no-untyped-call]
    scaled = weights.detach().numpy() * np.float32(GRAM_SCALE)
    return buckets, rarity, scaled, bias.detach().numpy()


def _calibrated(
    classifier: LinearClassifier, texts: Sequence[str], vectors: NDArray[np.float32], gold: NDArray[np.int64]
) -> LinearClassifier:
    """The classifier with the mixture that is right most often and the temperature under which these are likeliest."""
    meant, written = classifier.kernel(vectors), log_softmax(classifier.letters(texts))
    each = np.arange(len(gold))

    def likelihood(logs: NDArray[Any]) -> float:
        return float(log_softmax(logs.astype(np.float32))[each, gold].mean())

    best: tuple[float, float, float, float] | None = None
    for sharpness in (4.0, 7.0, 10.0, 15.0):
        for mix in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
            logs = mix * log_softmax(sharpness * meant) + (1 - mix) * written
            heat = max((0.05 * step for step in range(4, 41)), key=lambda heat: likelihood(logs / heat))
            found = (likelihood(logs / heat), sharpness, mix, heat)
            best = max(best, found) if best else found
    assert best is not None
    return replace(classifier, sharpness=best[1], mix=best[2], temperature=best[3])
