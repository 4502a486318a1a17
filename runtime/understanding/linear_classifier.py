"""Classifies what a question is about and how its writer feels, from the encoder's vector and the question's letters.

    heads/intent.npz, heads/emotion.npz     arrays only, read without pickle; written by distill.classifiers

Two views of a question are mixed: kernel regression over the vectors of known questions, which sees what is meant, and
multinomial logistic regression over hashed words and n-grams, which sees what is written. The mixture is calibrated by
one temperature, so that a probability of .8 is right four times in five. A question is more or less familiar, whatever
its label: how near the known questions are, and how much they agree. Promises: the same question always gets the
same labels; a damaged file is an `IntegrityError`. Knows nothing of policies and of training.

Source of the calibration: Guo et al., "On Calibration of Modern Neural Networks" (arXiv:1706.04599).
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.base.statistics import log_softmax
from runtime.errors import IntegrityError
from runtime.text.articles import is_han
from runtime.text.normalize import nfkc

FOLDER = "heads"
"""Of a bundle: its classifiers. The name is part of the bundle's format."""
KINDS = ("intent", "emotion")
BUCKETS = 2**16
"""Of the hashed n-grams."""
NEIGHBOURS = 20
"""Known questions, the nearest, by which a question is familiar."""
_EXACT = ("mean", "scale", "buckets", "rarity", "bias", "gamma", "sharpness", "mix", "temperature")
_WORD = re.compile(r"\w+")


class Guess(NamedTuple):
    """A classifier's best label and its calibrated probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Familiarity:
    """What is usual of questions that a classifier knows the like of, measured on some it was not fitted on."""

    mean: NDArray[np.float32]
    """[2]: of the two parts of `LinearClassifier.nearness`."""
    scale: NDArray[np.float32]
    """[2]"""
    levels: NDArray[np.float32]
    """[q] rising sums of the two parts, standardised: quantiles."""

    @classmethod
    def of(cls, parts: NDArray[np.float32], quantiles: int = 201) -> Familiarity:
        """From the parts [n, 2] of held-out questions."""
        mean, scale = parts.mean(axis=0), parts.std(axis=0) + 1e-6
        levels = np.quantile(((parts - mean) / scale).sum(axis=1), np.linspace(0, 1, quantiles))
        return cls(mean.astype(np.float32), scale.astype(np.float32), levels.astype(np.float32))

    def level(self, parts: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n]: the share of the held-out questions that were less familiar, of parts [n, 2]."""
        return np.interp(self.score(parts), self.levels, np.linspace(0, 1, len(self.levels)))

    def score(self, parts: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n] of parts [n, 2]: larger is more familiar; it tells questions apart below the least level too."""
        return np.asarray(((parts - self.mean) / self.scale).sum(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class LinearClassifier:
    """One classifier. Shapes: d the vector's width, c known questions, g kept n-grams, k labels."""

    labels: tuple[str, ...]
    mean: NDArray[np.float32]
    """[d]; with `scale` it brings vectors, which all lie near each other, apart."""
    scale: NDArray[np.float32]
    centers: NDArray[np.float32]
    """[c, d] unit vectors."""
    weights: NDArray[np.float32]
    """[c, k]"""
    gamma: float
    """The kernel is exp(gamma · (cosine - 1))."""
    buckets: NDArray[np.int64]
    """[g], sorted."""
    rarity: NDArray[np.float32]
    """[g]: inverse document frequency."""
    grams: NDArray[np.float32]
    """[g, k]"""
    bias: NDArray[np.float32]
    """[k]"""
    sharpness: float
    mix: float
    """Weight of the kernel's view, 0 to 1."""
    temperature: float
    familiar: Familiarity | None = None
    """None where the file was made before this was measured."""

    def probabilities(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, k] of questions and their vectors [n, d]."""
        mixed = self.mix * log_softmax(self.sharpness * self.kernel(vectors))
        mixed += (1 - self.mix) * log_softmax(self.letters(texts))
        out: NDArray[np.float32] = np.exp(log_softmax(mixed / self.temperature))
        return out

    def kernel(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, k] scores of what is meant."""
        return self._kernel(self._cosines(vectors))

    def nearness(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, 2]: the mean cosine of the nearest known questions, and the best label's score of what is meant.

        The first alone misses what lies among many labels and is none of them, the second what lies far from all.
        Source of the first: Sun et al., "Out-of-distribution detection with deep nearest neighbors" (arXiv:2204.06507).
        """
        cosines = self._cosines(vectors)
        most = min(NEIGHBOURS, cosines.shape[1])
        nearest = np.partition(cosines, -most, axis=1)[:, -most:]
        return np.stack([nearest.mean(axis=1), self._kernel(cosines).max(axis=1)], axis=1)

    def familiarity(self, vector: NDArray[np.float32]) -> float | None:
        """The share of questions of known kinds that are less familiar than this one's vector [d]; None = unknown."""
        return None if self.familiar is None else float(self.familiar.level(self.nearness(vector[None]))[0])

    def _cosines(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        cosines: NDArray[np.float32] = standardize(vectors, self.mean, self.scale) @ self.centers.T
        return cosines

    def _kernel(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        near: NDArray[np.float32] = np.exp(self.gamma * (cosines - 1)) @ self.weights
        return near

    def letters(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, k] scores of what is written."""
        out = np.tile(self.bias, (len(texts), 1)).astype(np.float32)
        for row, text in enumerate(texts):
            where, values = weigh_features(hash_features(text), self.buckets, self.rarity)
            out[row] += values @ self.grams[where]
        return out

    def guess(self, text: str, vector: NDArray[np.float32]) -> Guess:
        """The likeliest label of one question and its vector [d]."""
        chances = self.probabilities([text], vector[None])[0]
        best = int(chances.argmax())
        return Guess(self.labels[best], float(chances[best]))


def load_classifiers(folder: Path) -> dict[str, LinearClassifier]:
    """The classifiers of a bundle's folder by kind; kinds without a file are left out."""
    return {kind: load_classifier(path) for kind in KINDS if (path := folder / f"{kind}.npz").is_file()}


def load_classifier(path: Path) -> LinearClassifier:
    """Read one classifier; `IntegrityError` when its file is damaged."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found: dict[str, Any] = {name: file[name] for name in file.files}
        wide = {name: found[name].astype(np.float32) for name in ("mean", "scale", "centers", "weights", "grams")}
        classifier = LinearClassifier(
            labels=tuple(str(name) for name in found["labels"]),
            buckets=found["buckets"].astype(np.int64),
            rarity=found["rarity"].astype(np.float32),
            bias=found["bias"].astype(np.float32),
            gamma=float(found["gamma"]),
            sharpness=float(found["sharpness"]),
            mix=float(found["mix"]),
            temperature=float(found["temperature"]),
            familiar=_familiarity(found),
            **wide,
        )
        kinds = len(classifier.labels)
        shapes = (classifier.weights.shape, classifier.grams.shape, classifier.bias.shape)
        if shapes != ((len(classifier.centers), kinds), (len(classifier.buckets), kinds), (kinds,)):
            raise ValueError(f"shapes {shapes}")
    except (ValueError, KeyError, OSError, EOFError, zlib.error) as error:
        raise IntegrityError("not a classifier", where=str(path), hint="install the bundle again") from error
    except Exception as error:  # zipfile's errors share no base class with numpy's
        raise IntegrityError("a damaged classifier", where=str(path), hint="install the bundle again") from error
    return classifier


def _familiarity(found: dict[str, Any]) -> Familiarity | None:
    if "familiar_levels" not in found:
        return None
    mean, scale, levels = (found[f"familiar_{name}"].astype(np.float32) for name in ("mean", "scale", "levels"))
    if mean.shape != (2,) or scale.shape != (2,) or levels.ndim != 1 or len(levels) < 2:
        raise ValueError(f"shapes {mean.shape}, {scale.shape}, {levels.shape}")
    return Familiarity(mean, scale, levels)


def save_classifier(classifier: LinearClassifier, path: Path) -> None:
    """Write a classifier; what need not be exact takes two bytes a number (float16)."""
    arrays: dict[str, Any] = {name: getattr(classifier, name) for name in _EXACT}
    arrays |= {name: getattr(classifier, name).astype(np.float16) for name in ("centers", "weights", "grams")}
    if known := classifier.familiar:
        arrays |= {"familiar_mean": known.mean, "familiar_scale": known.scale, "familiar_levels": known.levels}
    np.savez_compressed(path, labels=np.array(classifier.labels), **arrays)


def standardize(
    vectors: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Unit vectors [n, d] of what distinguishes these vectors from others."""
    apart = (vectors - mean) / scale
    unit: NDArray[np.float32] = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
    return unit


def hash_features(text: str) -> Counter[int]:
    """How often each bucket's n-grams stand in a text: words, pairs of words, letters in threes to fives.

    Chinese, which writes no spaces, is cut into single characters, pairs and threes.
    """
    words = _WORD.findall(nfkc(text).casefold())
    found = [*words, *(f"{left} {right}" for left, right in pairwise(words))]
    for word in words:
        han = is_han(word[0]) or is_han(word[-1])
        edged = word if han else f"<{word}>"
        for length in (1, 2, 3) if han else (3, 4, 5):
            found += ["#" + edged[start : start + length] for start in range(len(edged) - length + 1)]
    return Counter(zlib.crc32(gram.encode("utf-8", "replace")) % BUCKETS for gram in found)


def weigh_features(
    counts: Counter[int], buckets: NDArray[np.int64], rarity: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(places among the kept buckets, weights of unit length) of a text's n-grams."""
    given = np.array(sorted(counts), dtype=np.int64)
    where = np.searchsorted(buckets, given)
    where = np.minimum(where, max(len(buckets) - 1, 0))
    known = buckets[where] == given if len(buckets) else np.zeros(len(given), dtype=bool)
    where = where[known]
    often = np.array([counts[int(bucket)] for bucket in given[known]], dtype=np.float32)
    values = (1 + np.log(np.maximum(often, 1))) * rarity[where]
    return where, (values / max(float(np.linalg.norm(values)), 1e-9)).astype(np.float32)
