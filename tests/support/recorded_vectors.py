"""Sentence vectors of the demo's own encoder (multilingual-e5-small, INT8), recorded for a fixed set of texts.

The encoder is not on every machine, and takes half a minute for what a test may spend seconds on. A text that was not
recorded fails the test, saying how to record again:

    python -m tests.support.attacked_desk     # needs `edgedesk models fetch multilingual-e5-small`
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.base.progress import ProgressCallback
from runtime.retrieval.embedder import Embedder, EmbedderSpec

AGAIN = "record again: python -m tests.support.attacked_desk"


def key_of(text: str) -> int:
    return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:8], "big")


class RecordedEmbedder(Embedder):
    """Gives what was recorded. Eight bits a coordinate: the cosine of a vector with its original is above .999."""

    def __init__(self, path: Path) -> None:
        self.folder = path
        with np.load(path, allow_pickle=False) as file:
            rows = file["vectors"].astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            self._known = dict(zip(file["keys"].tolist(), rows, strict=True))
            self.spec = EmbedderSpec.model_validate_json(str(file["spec"]))
        self.fingerprint = str(key_of(",".join(map(str, self._known))))  # type: ignore[misc]

    def _embed(self, texts: list[str], progress: ProgressCallback | None) -> NDArray[np.float32]:
        if new := [text for text in texts if key_of(text) not in self._known]:
            raise AssertionError(f"{len(new)} texts were not recorded, such as {new[0][:80]!r}; {AGAIN}")
        return np.array([self._known[key_of(text)] for text in texts]).reshape(len(texts), self.spec.dim)


class RecordingEmbedder(Embedder):
    """The real encoder, which remembers what it was asked."""

    def __init__(self, folder: Path, *, threads: int = 2) -> None:
        super().__init__(folder, threads=threads)
        self.seen: dict[int, NDArray[np.float32]] = {}

    def _embed(self, texts: list[str], progress: ProgressCallback | None) -> NDArray[np.float32]:
        if new := [text for text in dict.fromkeys(texts) if key_of(text) not in self.seen]:
            self.seen |= zip(map(key_of, new), super()._embed(new, progress), strict=True)
        return np.array([self.seen[key_of(text)] for text in texts]).reshape(len(texts), self.spec.dim)

    def write(self, path: Path) -> None:
        """The file that `RecordedEmbedder` reads."""
        keys: Sequence[int] = sorted(self.seen)
        rows = np.array([self.seen[key] for key in keys])
        small = np.round(rows / np.abs(rows).max(axis=1, keepdims=True) * 127).astype(np.int8)
        np.savez_compressed(
            path, keys=np.array(keys, dtype=np.uint64), vectors=small, spec=np.array(self.spec.model_dump_json())
        )
