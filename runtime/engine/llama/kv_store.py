"""Packs: stored keys and values on disk, in a byte budget.

    EDGEPAC2  u32 header length  header (JSON: the key, the payload's size and SHA-256)  padding to 64  payload

One file for each key. Promises: a file is complete or not there; one that is damaged, cut or of another key is deleted
and reported as missing; the budget is kept by deleting what was read longest ago; files and folder are the owner's
alone, since they hold the token ids of articles or conversations. Knows nothing of llama.cpp: a payload is bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.base.files import full_disk_is_an_error, write_atomic
from runtime.engine.core.composition import PACK_SUFFIX, KvKey
from runtime.errors import EdgedeskError

MAGIC = b"EDGEPAC2"
"""Changes with the key's fields. Packs of another format are never found, and leave as the least recently used."""
ALIGN = 64
"""The payload's offset in a file, so that it can be mapped and read in whole cache lines."""
MAX_HEADER_BYTES = 4096

Payload = Sequence[NDArray[np.uint8]]
"""A payload in parts: joining them first would take its memory once more."""


class PackStore(Protocol):
    """Where packs are kept."""

    @property
    def keeps(self) -> bool:
        """Whether it can keep anything: nothing need be prepared for a store that cannot."""
        ...

    def has(self, key: KvKey) -> bool:
        """Whether there is a pack of this key; it may still turn out to be damaged."""
        ...

    def read(self, key: KvKey) -> NDArray[np.uint8] | None:
        """The payload, or None."""
        ...

    def write(self, key: KvKey, payload: Payload) -> bool:
        """Keep a payload; False when there is no room for it."""
        ...

    def clear(self) -> None:
        """Delete every pack."""
        ...


class NoKvStore:
    """Keeps nothing: for engines without a folder."""

    keeps = False

    def has(self, key: KvKey) -> bool:  # noqa: ARG002 - the interface's
        """Never."""
        return False

    def read(self, key: KvKey) -> None:  # noqa: ARG002 - the interface's
        """Nothing."""
        return

    def write(self, key: KvKey, payload: Payload) -> bool:  # noqa: ARG002 - the interface's
        """Never."""
        return False

    def clear(self) -> None:
        """There is nothing to delete."""


class KvStore:
    """A folder of packs; one process at a time."""

    keeps = True

    def __init__(self, folder: Path, budget_bytes: int, *, max_age_s: float | None = None) -> None:
        """`max_age_s`: delete packs that were not read for so long, whatever the budget."""
        self.folder = folder
        self.budget_bytes = budget_bytes
        self._max_age_s = max_age_s
        self._verified: set[str] = set()
        """Files whose checksum was compared since the store was opened; comparing takes as long as reading."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)

    def has(self, key: KvKey) -> bool:
        """Whether there is a pack of this key; it may still turn out to be damaged."""
        return (self.folder / key.file_name).is_file()

    def read(self, key: KvKey) -> NDArray[np.uint8] | None:
        """The payload, mapped into memory, its checksum compared when it is read for the first time; or None."""
        path = self.folder / key.file_name
        try:
            payload = self._open(path, key)
            os.utime(path)  # the time of the last use, by which the budget is kept
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            self._verified.discard(key.file_name)
            with suppress(OSError):
                path.unlink()
            return None
        return payload

    def write(self, key: KvKey, payload: Payload) -> bool:
        """Keep a payload; False when the budget or the disk has no room for it."""
        size = sum(part.nbytes for part in payload)
        if size > self.budget_bytes:
            return False
        digest = hashlib.sha256()
        for part in payload:
            digest.update(part.data)
        header = json.dumps({"key": asdict(key), "bytes": size, "sha256": digest.hexdigest()}).encode()
        start = MAGIC + struct.pack("<I", len(header)) + header
        padding = bytes(-len(start) % ALIGN)
        self._make_room(size + len(start) + ALIGN)
        try:
            with full_disk_is_an_error(self.folder):
                chunks: tuple[bytes | memoryview, ...] = (start, padding, *(part.data for part in payload))
                write_atomic(self.folder / key.file_name, chunks, mode=0o600)
        except (EdgedeskError, OSError):
            return False  # packs only save time
        self._verified.add(key.file_name)
        return True

    def clear(self) -> None:
        """Delete every pack."""
        delete_packs(self.folder)
        self._verified.clear()

    def _open(self, path: Path, key: KvKey) -> NDArray[np.uint8]:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError("not a pack")
            (length,) = struct.unpack("<I", file.read(4))
            if length > MAX_HEADER_BYTES:
                raise ValueError("header too long")
            header = json.loads(file.read(length))
        start = len(MAGIC) + 4 + length
        start += -start % ALIGN
        if header["key"] != asdict(key) or path.stat().st_size != start + header["bytes"]:
            raise ValueError("of another key, or cut")
        payload = np.memmap(path, dtype=np.uint8, mode="r", offset=start)
        if key.file_name not in self._verified:
            if hashlib.sha256(payload.data).hexdigest() != header["sha256"]:
                raise ValueError("damaged")
            self._verified.add(key.file_name)
        return payload

    def _make_room(self, size: int) -> None:
        """Delete packs that are too old, then the least recently used until `size` more bytes fit."""
        stats = [(path.stat(), path) for path in self.folder.glob(f"*{PACK_SUFFIX}")]
        used = sum(stat.st_size for stat, _ in stats)
        oldest = 0.0 if self._max_age_s is None else time.time() - self._max_age_s
        for stat, path in sorted(stats, key=lambda one: (one[0].st_mtime_ns, one[1])):
            if used + size <= self.budget_bytes and stat.st_mtime >= oldest:
                return
            path.unlink(missing_ok=True)
            used -= stat.st_size


def delete_packs(folder: Path) -> None:
    """Delete every pack of a folder, and what a killed process left of one it was writing."""
    for pattern in (f"*{PACK_SUFFIX}", f".*{PACK_SUFFIX}.*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def usage(folder: Path) -> tuple[int, int]:
    """(packs, bytes) in a folder."""
    sizes = [path.stat().st_size for path in folder.glob(f"*{PACK_SUFFIX}")]
    return len(sizes), sum(sizes)
