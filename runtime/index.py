"""The vector index on disk: a Chroma collection that is only a cache of what it was made from.

Promises: an index that is missing, stale or damaged in any byte is made again unattended; two processes never share
Chroma's files. Chroma writes into its folder even when it only reads, and corrupts it when two processes use it, so the
index is kept as made, with a manifest, and each process works on its own checked copy. Knows nothing of articles.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import IntegrityError
from runtime.files import full_disk_is_an_error
from runtime.manifest import stage, verify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLLECTION = "pieces"
_EF_SEARCH = 400
"""How many neighbours HNSW looks at: twice what is asked for, so that hardly any is missed."""


class Near(NamedTuple):
    """A piece found: its row, its group, and its cosine to what was searched for."""

    row: int
    group: int
    cosine: float


class VectorIndex:
    """Unit vectors of numbered groups (the pieces of a section); row k of the vectors is piece k."""

    def __init__(self, live: _LiveCopy) -> None:
        """Use `open`."""
        self._live = live
        self._client = _client(live.path)
        self._collection = self._client.get_collection(_COLLECTION, embedding_function=None)

    @classmethod
    def open(
        cls,
        folder: Path,
        inputs: Mapping[str, Any],
        groups: Sequence[int],
        vectors: Callable[[], NDArray[np.float32]],
    ) -> VectorIndex:
        """Take the index made from the same `inputs`, or make it from `vectors()` [n, dim] and their `groups` [n]."""

        def work(partial: Path) -> Mapping[str, Any]:
            _write(partial, groups, vectors())
            return {"pieces": len(groups)}

        with full_disk_is_an_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with _lock(folder / ".lock"):
                _sweep(folder)
                inputs = {**inputs, "chromadb": _chroma_version()}
                try:
                    return cls(_checked_copy(folder, inputs, work, force=False))
                except IntegrityError:
                    return cls(_checked_copy(folder, inputs, work, force=True))

    def nearest(self, vector: NDArray[np.float32], count: int, groups: Sequence[int] | None = None) -> list[Near]:
        """The `count` nearest pieces, nearest first, among `groups` if given."""
        found = self._collection.query(
            query_embeddings=vector[None],
            n_results=count,
            where=None if groups is None else {"group": {"$in": list(groups)}},
            include=["distances", "metadatas"],
        )
        rows = zip(found["ids"][0], found["metadatas"][0], found["distances"][0], strict=True)
        return [Near(int(row), int(meta["group"]), 1.0 - float(distance)) for row, meta, distance in rows]

    def cosines(self, vector: NDArray[np.float32], groups: Sequence[int]) -> list[tuple[int, float]]:
        """(group, cosine) of every piece of `groups`."""
        import numpy as np

        rows = self._collection.get(where={"group": {"$in": list(groups)}}, include=["embeddings", "metadatas"])
        values = np.asarray(rows["embeddings"]) @ vector
        return [(int(meta["group"]), float(value)) for meta, value in zip(rows["metadatas"], values, strict=True)]

    def close(self) -> None:
        """Let go of the copy and delete it."""
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


def _write(folder: Path, groups: Sequence[int], vectors: NDArray[np.float32]) -> None:
    client = _client(folder)
    try:
        collection = client.create_collection(
            _COLLECTION,
            embedding_function=None,  # the default one downloads a model
            configuration={"hnsw": {"space": "cosine", "ef_search": _EF_SEARCH}},
        )
        step = min(1000, client.get_max_batch_size())
        for start in range(0, len(groups), step):
            chunk = groups[start : start + step]
            collection.add(
                ids=[str(start + offset) for offset in range(len(chunk))],
                embeddings=vectors[start : start + step],
                metadatas=[{"group": group} for group in chunk],
            )
    finally:
        client.close()  # flushes; only then may the files be hashed


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


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Wait for whoever is making the index: it takes seconds, and then it is there for both."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _client(folder: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))


def _chroma_version() -> str:
    from importlib.metadata import version

    return version("chromadb")
