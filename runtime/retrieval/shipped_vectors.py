"""Passages' vectors as head office computed them: `vectors.npy` of a bundle, so that no branch embeds them again.

    one row a text: key (16 bytes of SHA-256 over the embedder's fingerprint and the text), vector ([dim] float16)

Promises: a vector is taken only for the very text and embedder it was made from; everything else, a missing or
malformed file too, is computed on the spot. Knows nothing of articles.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.base.progress import ProgressCallback
from runtime.retrieval.embedder import Embedder

VECTORS_FILE = "vectors.npy"
_KEY_BYTES = 16


def write_vectors(
    path: Path, embedder: Embedder, texts: Sequence[str], progress: ProgressCallback | None = None
) -> int:
    """Embed each different text once and write the file; returns how many there are."""
    different = list(dict.fromkeys(texts))
    rows = np.empty(len(different), dtype=_row_type(embedder.spec.dim))
    rows["key"] = [np.void(_key(embedder, text)) for text in different]
    rows["vector"] = embedder.passages(different, progress)
    np.save(path, rows, allow_pickle=False)
    return len(different)


def read_vectors(
    embedder: Embedder, texts: Sequence[str], shipped: Path | None, progress: ProgressCallback | None = None
) -> NDArray[np.float32]:
    """Unit vectors [n, dim] of passages: those in the file `shipped` from there, the others computed.

    `progress(done, all)` counts the computed ones; it is not called when there are none.
    """
    known = _read(shipped, embedder.spec.dim) if shipped else {}
    out = np.zeros((len(texts), embedder.spec.dim), dtype=np.float32)
    missing = []
    for row, text in enumerate(texts):
        if (vector := known.get(_key(embedder, text))) is None:
            missing.append(row)
        else:
            out[row] = vector
    if missing:
        out[missing] = embedder.passages([texts[row] for row in missing], progress)
    return out


def _read(path: Path, dim: int) -> dict[bytes, NDArray[np.float32]]:
    """The file's unit vectors by key; nothing when it is not there or not of this form."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Mapped, so that a header that promises more than the file holds allocates nothing.
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # whatever numpy's parser of a broken header may raise, the vectors are computed instead
        return {}
    if rows.ndim != 1 or rows.dtype != _row_type(dim):
        return {}
    with np.errstate(invalid="ignore"):
        vectors = rows["vector"].astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.maximum(norms, 1e-12)
    return {rows["key"][row].tobytes(): unit[row] for row in np.flatnonzero(np.isfinite(norms[:, 0]))}


def _row_type(dim: int) -> np.dtype[np.void]:
    return np.dtype([("key", f"V{_KEY_BYTES}"), ("vector", "<f2", (dim,))])


def _key(embedder: Embedder, text: str) -> bytes:
    return hashlib.sha256(f"{embedder.fingerprint}\0{text}".encode("utf-8", "replace")).digest()[:_KEY_BYTES]
