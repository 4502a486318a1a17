"""The vectors of an index in one array: for a process that answers one question and ends.

Opening Chroma takes 1.7 s of processor time, most of it its import, and pays from some hundred thousand vectors or some
hundred questions on; here one question is compared with every vector, 2 ms for 6,000 of them. What is found is exact,
where Chroma's HNSW may miss a neighbour of four hundred. Promises: as `chroma_index`, a cache only, made again where it
is missing, stale or damaged; several processes may read it. Knows nothing of articles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.base.build_stage import stage
from runtime.base.files import full_disk_is_an_error, private_folder
from runtime.base.manifest import digest, verify
from runtime.errors import IntegrityError
from runtime.retrieval.neighbour import Neighbour, index_lock

FOLDER = "exact"
_FILE = "vectors.npy"


class ExactIndex:
    """Unit vectors in named parts; row k of the vectors is piece k."""

    def __init__(self, vectors: NDArray[np.float32], parts: Sequence[str]) -> None:
        """Use `open`."""
        self.vectors = vectors
        names = np.array(parts)
        self._rows = {str(part): np.flatnonzero(names == part) for part in np.unique(names)}

    @classmethod
    def open(
        cls,
        folder: Path,
        inputs: Mapping[str, Any],
        parts: Sequence[str],
        vectors: Callable[[], NDArray[np.float32]],
    ) -> ExactIndex:
        """Take what was made from the same `inputs`, or make it from `vectors()` [n, dim] and their `parts` [n]."""
        made = folder / FOLDER
        inputs = {**inputs, "parts": digest(list(parts))}

        def work(partial: Path) -> Mapping[str, Any]:
            np.save(partial / _FILE, vectors(), allow_pickle=False)
            return {"pieces": len(parts)}

        def read(*, force: bool) -> ExactIndex:
            manifest, _ = stage(made, "vectors", inputs, work, force=force)
            verify(made, manifest)
            return cls(np.load(made / _FILE, allow_pickle=False), parts)

        with full_disk_is_an_error(folder):
            private_folder(folder)  # vectors tell what internal articles are about
            with index_lock(folder / ".exact-lock"):
                try:
                    return read(force=False)
                except IntegrityError:
                    return read(force=True)

    def nearest(
        self, vector: NDArray[np.float32], count: int, part: str, among: Sequence[int] | None = None
    ) -> list[Neighbour]:
        """The `count` nearest pieces of a part, nearest first, among these rows of it if given."""
        rows = self._rows[part] if among is None else np.array(among, dtype=np.int64)
        cosines = self.vectors[rows] @ vector
        best = np.argsort(-cosines, kind="stable")[: max(0, count)]
        return [Neighbour(int(rows[place]), float(cosines[place])) for place in best]

    def cosines(self, vector: NDArray[np.float32], rows: Sequence[int]) -> list[Neighbour]:
        """How near each of these rows is, in any order."""
        if not len(rows):
            return []
        found = self.vectors[list(rows)] @ vector
        return [Neighbour(row, float(value)) for row, value in zip(rows, found, strict=True)]

    def close(self) -> None:
        """Nothing is held."""
