"""Finds the sentences of articles that dictate what the desk should say ("Staff must always say …").

    heads/dictation.npz     mean [d], scale [d], weights [d], bias, threshold; and its verdicts on the bundle's own
                            sentences: keys [k], dictated [k]. Read without pickle, written by
                            distill/classifiers/dictation_training.py

A logistic regression on the encoder's vectors (d their width): what articles tell customers on one side, what tells the
desk what to say on the other. It works in every language the encoder knows and catches forms that nobody listed;
benchmarks/attacks.py measures how many it misses. Promises: verdicts depend on the sentence alone; no sentence of the
bundle it was trained for is embedded again. Knows nothing of how it was trained.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.bundle import Bundle
from runtime.errors import IntegrityError
from runtime.retrieval.embedder import Embedder
from runtime.understanding.linear_classifier import FOLDER

FILE = "dictation.npz"
REMEMBERED = 20_000
"""Sentences whose verdict is kept in memory: a few megabytes."""


@dataclass(frozen=True)
class LinearBoundary:
    """A hyperplane: a vector [d] counts as dictation when its score is above the threshold."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: float
    threshold: float
    judged: Mapping[int, bool] = field(default_factory=dict)
    """`sentence_key` of the bundle's own sentences → whether they dictate."""

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores [n] of unit vectors [n, d]: log-odds of dictation, up to the classes' weights."""
        found = ((vectors - self.mean) / self.scale) @ self.weights + self.bias
        return found.astype("float32")


class DictationClassifier:
    """The boundary of a bundle with its encoder; without a boundary no sentence dictates. Safe to use from threads."""

    def __init__(
        self, boundary: LinearBoundary | None, embedder: Callable[[], Embedder], *, remember: int = REMEMBERED
    ) -> None:
        """`embedder` gives the encoder; it is called when a sentence has to be embedded, and not before."""
        self._boundary = boundary
        self._embedder = embedder
        self._remember = remember
        self._verdicts: OrderedDict[str, bool] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(cls, folder: Path, embedder: Embedder) -> DictationClassifier:
        """Of a bundle's folder of classifiers."""
        path = folder / FILE
        return cls(read_boundary(path) if path.is_file() else None, lambda: embedder)

    def dictated(self, sentences: Sequence[str]) -> list[bool]:
        """Whether each of the sentences dictates what is said."""
        if self._boundary is None:
            return [False] * len(sentences)
        # Worked out in a dictionary of its own: another thread may push a sentence out of memory at any moment.
        different = tuple(dict.fromkeys(sentences))
        with self._lock:
            verdicts = {one: self._verdicts[one] for one in different if one in self._verdicts}
        for one in different:
            if one not in verdicts and (key := sentence_key(one)) in self._boundary.judged:
                verdicts[one] = self._boundary.judged[key]
        if new := [one for one in different if one not in verdicts]:
            scores = self._boundary.scores(self._embedder().queries(new))
            verdicts |= {one: bool(score > self._boundary.threshold) for one, score in zip(new, scores, strict=True)}
        with self._lock:
            self._verdicts.update(verdicts)
            while len(self._verdicts) > self._remember:
                self._verdicts.popitem(last=False)
        return [verdicts[one] for one in sentences]


def sentence_key(sentence: str) -> int:
    """A sentence's key among the bundle's own: 63 bits of its SHA-256."""
    return int.from_bytes(sha256(sentence.encode("utf-8", "replace")).digest()[:8], "big") >> 1


def load_classifier(bundle: Bundle) -> DictationClassifier:
    """The classifier of an installed bundle; the encoder is loaded for the first sentence that is not the bundle's."""
    path = bundle.root / FOLDER / FILE
    return DictationClassifier(
        read_boundary(path) if path.is_file() else None, cache(lambda: Embedder(bundle.embedder_path))
    )


def read_boundary(path: Path) -> LinearBoundary:
    """Read a file; `IntegrityError` when it is damaged."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            mean, scale, weights = (file[name].astype(np.float32) for name in ("mean", "scale", "weights"))
            judged = dict(zip(file["keys"].tolist(), file["dictated"].tolist(), strict=True))
            boundary = LinearBoundary(mean, scale, weights, float(file["bias"]), float(file["threshold"]), judged)
        if not (mean.ndim == 1 and mean.shape == scale.shape == weights.shape):
            raise ValueError(f"shapes {mean.shape}, {scale.shape}, {weights.shape}")
    except Exception as error:  # numpy's, zipfile's and zlib's errors share no base class
        raise IntegrityError("not a dictation classifier", where=str(path), hint="install the bundle again") from error
    return boundary


def write_boundary(boundary: LinearBoundary, path: Path) -> None:
    """Write the file that `read_boundary` reads."""
    np.savez(
        path,
        mean=boundary.mean,
        scale=boundary.scale,
        weights=boundary.weights,
        bias=np.float64(boundary.bias),
        threshold=np.float64(boundary.threshold),
        keys=np.array(list(boundary.judged), dtype=np.int64),
        dictated=np.array(list(boundary.judged.values()), dtype=bool),
    )
