"""Trains the intent and emotion classifiers on the vectors of the bundle's own encoder.

    texts with labels  ->  vectors  ->  kernel regression (closed form) + logistic regression (L-BFGS)  ->  calibrated

A part is held back: on one half of it the mixture and the temperature are chosen, on the other accuracy, macro-F1 and
the expected calibration error are measured; then both views are fitted again on everything. Promises: the same
examples give the same head. Knows nothing of records and bundles but their texts and labels.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.base.progress import bar, say
from runtime.errors import InputError
from runtime.evaluation.classifiers import measure
from runtime.understanding.linear_classifier import (
    KINDS,
    LinearClassifier,
    hash_features,
    log_softmax,
    save_classifier,
    standardize,
    weigh_features,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CENTERS = 8192
"""Known questions the kernel looks at; the square of it is what the fit needs in memory."""
RIDGE = 0.2
GAMMA = 2.0
GRAM_SCALE = 10.0
"""n-gram vectors have unit length; this is how fast their weights may grow under the penalty."""
HELD_BACK = 0.2
FIFTHS = 5
MAX_BUILD_EXAMPLES = 4000
"""That a build embeds for each head: half a minute on two cores."""
MIN_EXAMPLES = 2
"""Of a label; a rarer one cannot be told apart and is left out."""
_STEPS = 60


@dataclass(frozen=True)
class Example:
    """A question with its label."""

    text: str
    label: str


def train_classifier(
    examples: Sequence[Example], embed: Callable[[Sequence[str]], NDArray[np.float32]], *, seed: int = 7
) -> tuple[LinearClassifier, dict[str, Any]]:
    """A head and its figures on examples it was not fitted on; `embed` gives unit vectors [n, d] of questions.

    `InputError` when there are not two labels with examples enough.
    """
    import numpy as np

    common = {name for name, count in Counter(one.label for one in examples).items() if count >= MIN_EXAMPLES}
    kept = [one for one in examples if one.label in common]
    labels = tuple(sorted(common))
    if len(labels) < 2:
        raise InputError("a head needs two labels with two examples each", hint="label more questions")
    texts = [one.text for one in kept]
    vectors = embed(texts)
    gold = np.array([labels.index(one.label) for one in kept])
    back = _held_back(gold, seed)
    fit, choose, test = np.flatnonzero(~back), np.flatnonzero(back)[::2], np.flatnonzero(back)[1::2]

    def part(where: NDArray[np.int64]) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64]]:
        return [texts[index] for index in where], vectors[where], gold[where]

    head = _calibrated(_fit(*part(fit), labels, seed), *part(choose))
    figures = {"labels": len(labels), "examples": len(kept), **measure(head, *part(test))}
    everything = _fit(texts, vectors, gold, labels, seed)
    return replace(everything, sharpness=head.sharpness, mix=head.mix, temperature=head.temperature), figures


def cross_validate(
    examples: Sequence[Example],
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    *,
    count: int = FIFTHS,
    seed: int = 1,
    advance: Callable[[int], None] = lambda _fifths: None,
) -> dict[str, Any]:
    """Figures on stratified fifths of the examples, each by a head that was trained on the other four alone.

    `{labels, trained, tested, accuracy, macro_f1, ece, each: [accuracy]}`: the first `count` of the five, which share
    no example; shares are means weighted by what was tested. One fifth of 10,000 examples is good to a point either
    way, all five to a half.
    """
    import numpy as np

    names = sorted({one.label for one in examples})
    gold = np.array([names.index(one.label) for one in examples])
    part = _dealt(gold, seed)
    vectors = embed([one.text for one in examples])
    place = {one.text: row for row, one in enumerate(examples)}
    rows = []
    for held in range(count):
        rest = [one for one, number in zip(examples, part, strict=True) if number != held]
        head, _ = train_classifier(rest, lambda texts: vectors[[place[text] for text in texts]])
        own = [row for row in np.flatnonzero(part == held).tolist() if examples[row].label in head.labels]
        truth = np.array([head.labels.index(examples[row].label) for row in own])
        found = measure(head, [examples[row].text for row in own], vectors[own], truth)
        rows.append({"labels": len(head.labels), "trained": len(rest), **found})
        advance(1)
    tested = [row["tested"] for row in rows]
    means = {
        name: round(float(np.average([row[name] for row in rows], weights=tested)), 4)
        for name in ("accuracy", "macro_f1", "ece")
    }
    fewest = {name: min(row[name] for row in rows) for name in ("labels", "trained")}
    return {**fewest, "tested": sum(tested), **means, "each": [row["accuracy"] for row in rows]}


def train_classifiers(records: Path, embedder: Path, out: Path, threads: int) -> dict[str, Any]:
    """Heads for every kind of label that a folder of records has, into folder `out`; returns figures by kind.

    Beside them the eye of `distill.classifiers.dictation_training`, on the articles that lie beside the records.
    """
    from distill.classifiers.dictation_training import MIN_SENTENCES, train_dictation
    from runtime.base.jsonl import read_rows
    from runtime.retrieval.embedder import Embedder
    from runtime.text.articles import load_articles
    from runtime.text.records import Record
    from runtime.text.sentences import sentences
    from runtime.understanding.dictation_classifier import FILE as EYE
    from runtime.understanding.dictation_classifier import write_boundary

    rows = [row for path in (records / "train.jsonl",) if path.is_file() for row in read_rows(Record, path)]
    encoder = Embedder(embedder, threads=threads)
    figures: dict[str, Any] = {}
    with bar("training heads", len(KINDS), unit="heads") as advance:
        for kind in KINDS:
            labelled = [Example(row.query, label) for row in rows if (label := getattr(row, kind))]
            chosen = sample(labelled, MAX_BUILD_EXAMPLES)
            # A company that labels nothing has no heads; the desk does without them.
            if len({one.label for one in chosen}) >= 2:
                head, figures[kind] = train_classifier(chosen, encoder.queries)
                save_classifier(head, out / f"{kind}.npz")
                say(f"{kind} head: {figures[kind]}")
            advance(1)
    articles = records.parent / "articles"
    loaded = load_articles(articles) if articles.is_dir() else []
    if sum(len(sentences(section.text)) for one in loaded for section in one.sections) >= MIN_SENTENCES:
        line, figures["dictation"] = train_dictation(loaded, encoder.queries)
        write_boundary(line, out / EYE)
        say(f"dictation eye: {figures['dictation']}")
    return figures


def sample(examples: Sequence[Example], most: int, *, seed: int = 7) -> list[Example]:
    """At most so many examples, each text once, the rare labels whole before the common ones are filled up."""
    by_label: Mapping[str, list[Example]] = defaultdict(list)
    for one in {(one.text, one.label): one for one in examples}.values():
        by_label[one.label].append(one)
    rng = random.Random(seed)  # noqa: S311 - a choice, no secret
    for rows in by_label.values():
        rng.shuffle(rows)
    kept: list[Example] = []
    left = most
    for waiting, rows in zip(
        range(len(by_label), 0, -1), sorted(by_label.values(), key=lambda rows: (len(rows), rows[0].label)), strict=True
    ):
        take = rows[: left // waiting]
        kept += take
        left -= len(take)
    return kept


def _dealt(gold: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Which of five parts each example is in: those of every label are dealt out by chance, in turn."""
    import numpy as np

    rng = np.random.default_rng(seed)
    part = np.zeros(len(gold), dtype=np.int64)
    for label in np.unique(gold):
        rows = rng.permutation(np.flatnonzero(gold == label))
        part[rows] = np.arange(len(rows)) % FIFTHS
    return part


def _held_back(gold: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """A fifth of every label, at least one of two."""
    import numpy as np

    rng = np.random.default_rng(seed)
    back = np.zeros(len(gold), dtype=bool)
    for label in np.unique(gold):
        rows = rng.permutation(np.flatnonzero(gold == label))
        back[rows[: max(1, round(HELD_BACK * len(rows)))]] = True
    return back


def _fit(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    gold: NDArray[np.int64],
    labels: tuple[str, ...],
    seed: int,
) -> LinearClassifier:
    import numpy as np

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
    import numpy as np

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
    import numpy as np
    import torch

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
    head: LinearClassifier, texts: Sequence[str], vectors: NDArray[np.float32], gold: NDArray[np.int64]
) -> LinearClassifier:
    """The head with the mixture that is right most often and the temperature under which these are likeliest."""
    import numpy as np

    meant, written = head.kernel(vectors), log_softmax(head.letters(texts))
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
    return replace(head, sharpness=best[1], mix=best[2], temperature=best[3])
