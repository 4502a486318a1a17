"""What an index of vectors offers a search, whether Chroma keeps it or an array."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Neighbour(NamedTuple):
    """A piece found: its row, and its cosine to what was searched for."""

    row: int
    cosine: float


class SearchIndex(Protocol):
    """Unit vectors in named parts; row k of the vectors is piece k. See `VectorIndex` and `ExactIndex`."""

    def nearest(
        self, vector: NDArray[np.float32], count: int, part: str, among: Sequence[int] | None = None
    ) -> list[Neighbour]:
        """The `count` nearest pieces of a part, nearest first, among these rows of it if given."""
        ...

    def cosines(self, vector: NDArray[np.float32], rows: Sequence[int]) -> list[Neighbour]:
        """How near each of these rows is, in any order."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


@contextmanager
def index_lock(path: Path) -> Iterator[None]:
    """Wait for whoever is making the index: it takes seconds, and then it is there for both."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
