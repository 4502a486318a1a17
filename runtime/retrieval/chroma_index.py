"""The vector index on disk: Chroma collections that are only a cache of what they were made from.

One collection a part, so that a search looks at the parts it wants and filters nothing: a filter by metadata costs more
than the search itself.

Promises: an index that is missing, stale or damaged in any byte is made again unattended; two processes never share
Chroma's files. Chroma writes into its folder even when it only reads, and corrupts it when two processes use it, so the
index is kept as made, with a manifest, and each process works on its own checked copy. Knows nothing of articles.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.base.build_stage import stage
from runtime.base.files import full_disk_is_an_error, private_folder
from runtime.base.manifest import digest, verify
from runtime.errors import IntegrityError, UnavailableError
from runtime.retrieval.chroma_client import chroma_version, open_client
from runtime.retrieval.neighbour import Neighbour, index_lock

_EF_SEARCH = 400
"""How many neighbours HNSW looks at: twice what is asked for, so that hardly any is missed."""


class VectorIndex:
    """Unit vectors in named parts; row k of the vectors is piece k."""

    def __init__(self, live: _LiveCopy, parts: Sequence[str]) -> None:
        """Use `open`."""
        self._live = live
        self._client = open_client(live.path)
        self._parts = parts
        self._sizes = Counter(parts)
        self._collections = {
            part: self._client.get_collection(_collection(part), embedding_function=None) for part in self._sizes
        }

    @classmethod
    def open(
        cls,
        folder: Path,
        inputs: Mapping[str, Any],
        parts: Sequence[str],
        vectors: Callable[[], NDArray[np.float32]],
    ) -> VectorIndex:
        """Take the index made from the same `inputs`, or make it from `vectors()` [n, dim] and their `parts` [n]."""

        def work(partial: Path) -> Mapping[str, Any]:
            _write(partial, parts, vectors())
            return {"pieces": len(parts)}

        with full_disk_is_an_error(folder):
            private_folder(folder)  # the index holds what internal articles say
            with index_lock(folder / ".lock"):
                _sweep(folder)
                inputs = {**inputs, "chromadb": chroma_version(), "parts": digest(list(parts))}
                try:
                    return cls(_checked_copy(folder, inputs, work, force=False), parts)
                except IntegrityError:
                    return cls(_checked_copy(folder, inputs, work, force=True), parts)

    def nearest(
        self, vector: NDArray[np.float32], count: int, part: str, among: Sequence[int] | None = None
    ) -> list[Neighbour]:
        """The `count` nearest pieces of a part, nearest first, among these rows of it if given."""
        count = min(count, self._sizes[part] if among is None else len(among))
        if count < 1:
            return []
        found = self._collection_of(part).query(
            query_embeddings=vector[None],
            n_results=count,
            ids=None if among is None else [str(row) for row in among],
            include=["distances"],
        )
        return [
            Neighbour(int(row), 1.0 - float(far))
            for row, far in zip(found["ids"][0], found["distances"][0], strict=True)
        ]

    def cosines(self, vector: NDArray[np.float32], rows: Sequence[int]) -> list[Neighbour]:
        """How near each of these rows is, in any order."""
        by_part: dict[str, list[str]] = {}
        for row in rows:
            by_part.setdefault(self._parts[row], []).append(str(row))
        out = []
        for part, ids in by_part.items():
            found = self._collection_of(part).get(ids=ids, include=["embeddings"])
            values = np.asarray(found["embeddings"]) @ vector
            out += [Neighbour(int(row), float(value)) for row, value in zip(found["ids"], values, strict=True)]
        return out

    def _collection_of(self, part: str) -> Any:
        """Chroma's; `UnavailableError` once the index is closed, as while a server changes to another."""
        if not self._collections:
            raise UnavailableError("the search index is closed", hint="try again in a moment")
        return self._collections[part]

    def close(self) -> None:
        """Let go of the copy and delete it."""
        self._collections = {}
        self._client.close()
        self._live.close()


class _LiveCopy:
    """A private folder, held by a lock so that others can tell a copy in use from what a killed process left."""

    def __init__(self, parent: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="live-", dir=parent))
        self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._handle >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._handle)
            self._handle = -1


def _checked_copy(
    folder: Path, inputs: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]], *, force: bool
) -> _LiveCopy:
    """Make the index if need be, copy it, and check the copy: the bytes Chroma will read are the bytes checked."""
    made = folder / "made"
    manifest, _ = stage(made, "index", inputs, work, force=force)
    live = _LiveCopy(folder)
    try:
        shutil.copytree(made, live.path, dirs_exist_ok=True)
        verify(live.path, manifest)
    except BaseException:
        live.close()
        raise
    return live


def _write(folder: Path, parts: Sequence[str], vectors: NDArray[np.float32]) -> None:
    client = open_client(folder)
    try:
        step = min(1000, client.get_max_batch_size())
        for part in sorted(set(parts)):
            collection = client.create_collection(
                _collection(part),
                embedding_function=None,  # the default one downloads a model
                configuration={"hnsw": {"space": "cosine", "ef_search": _EF_SEARCH}},
            )
            rows = [row for row, name in enumerate(parts) if name == part]
            for start in range(0, len(rows), step):
                chunk = rows[start : start + step]
                collection.add(ids=[str(row) for row in chunk], embeddings=vectors[chunk])
    finally:
        client.close()  # flushes; only then may the files be hashed


def _collection(part: str) -> str:
    """Chroma's name for a part: it takes letters, digits, dots and dashes, at least three."""
    return "part-" + re.sub(r"[^a-zA-Z0-9.-]", lambda found: f".{ord(found[0]):x}.", part) + "-0"


def _sweep(folder: Path) -> None:
    """Delete the copies that killed processes left."""
    for path in folder.glob("live-*"):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
