"""A trained eye for sentences that dictate what is said, beside the forms of `runtime.understanding.dictation_rules`.

    heads/dictation.npz     weights [d], mean [d], scale [d], bias, threshold, and what it says of the bundle's own
                            sentences: keys [k], dictated [k]; read without pickle; by
                            distill/classifiers/dictation_training.py

One line through the space of the encoder's vectors: on one side what articles tell customers, on the other what tells
the desk what to say. It knows neither words nor languages but those the encoder knows, so it sees forms that nobody
listed; how many it misses is said by benchmarks/attacks.py. Promises: no sentence of the bundle it was trained for is
embedded again, any other once. Knows nothing of how
it was trained.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import IntegrityError
from runtime.retrieval.embedder import Embedder
from runtime.understanding.linear_classifier import FOLDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.bundle.bundle import Bundle

FILE = "dictation.npz"
KEPT = 20_000
"""Sentences whose verdict is remembered."""


@dataclass(frozen=True)
class LinearBoundary:
    """The line: a vector [d] counts as dictation when its score is above the threshold."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: float
    threshold: float
    judged: Mapping[int, bool] = field(default_factory=dict)
    """`sentence_key` of the sentences it was trained on → whether they dictate."""

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n] of unit vectors [n, d]."""
        found = ((vectors - self.mean) / self.scale) @ self.weights + self.bias
        return found.astype("float32")


class DictationClassifier:
    """The line of a bundle with its encoder; without a file it sees nothing. Safe to use from several threads."""

    def __init__(self, line: LinearBoundary | None, embedder: Callable[[], Embedder]) -> None:
        """`embedder` gives the encoder; it is asked for when a sentence is not known already."""
        self._line = line
        self._embedder = embedder
        self._known: OrderedDict[str, bool] = OrderedDict()

    @classmethod
    def open(cls, folder: Path, embedder: Embedder) -> DictationClassifier:
        """Of a bundle's folder of heads."""
        path = folder / FILE
        return cls(read_boundary(path) if path.is_file() else None, lambda: embedder)

    def dictated(self, sentences: Sequence[str]) -> list[bool]:
        """Which of the sentences dictate what is said."""
        if self._line is None:
            return [False] * len(sentences)
        judged = self._line.judged
        for one in sentences:
            if one not in self._known and (key := sentence_key(one)) in judged:
                self._known[one] = judged[key]
        if new := [one for one in dict.fromkeys(sentences) if one not in self._known]:
            scores = self._line.scores(self._embedder().queries(new))
            found = {one: bool(score > self._line.threshold) for one, score in zip(new, scores, strict=True)}
            self._known.update(found)
        out = [self._known[one] for one in sentences]
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return out


def sentence_key(sentence: str) -> int:
    """Names a sentence in 63 bits."""
    return int.from_bytes(sha256(sentence.encode("utf-8", "replace")).digest()[:8], "big") >> 1


def load_classifier(bundle: Bundle) -> DictationClassifier:
    """The eye of an installed bundle; its encoder is loaded when it is shown other sentences than the bundle's own."""
    path = bundle.root / FOLDER / FILE
    return DictationClassifier(
        read_boundary(path) if path.is_file() else None, cache(lambda: Embedder(bundle.embedder_path))
    )


def read_boundary(path: Path) -> LinearBoundary:
    """The line in a file; `IntegrityError` when it is damaged."""
    import numpy as np

    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            mean, scale, weights = (file[name].astype(np.float32) for name in ("mean", "scale", "weights"))
            judged = dict(zip(file["keys"].tolist(), file["dictated"].tolist(), strict=True))
            line = LinearBoundary(mean, scale, weights, float(file["bias"]), float(file["threshold"]), judged)
        if not (mean.ndim == 1 and mean.shape == scale.shape == weights.shape):
            raise ValueError(f"shapes {mean.shape}, {scale.shape}, {weights.shape}")
    except Exception as error:  # numpy's, zipfile's and zlib's errors share no base class
        raise IntegrityError("not an eye", where=str(path), hint="install the bundle again") from error
    return line


def write_boundary(line: LinearBoundary, path: Path) -> None:
    """Write the file."""
    import numpy as np

    np.savez(
        path,
        mean=line.mean,
        scale=line.scale,
        weights=line.weights,
        bias=np.float64(line.bias),
        threshold=np.float64(line.threshold),
        keys=np.array(list(line.judged), dtype=np.int64),
        dictated=np.array(list(line.judged.values()), dtype=bool),
    )
