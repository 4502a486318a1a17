"""Knowledge packs: compiled articles on disk, in a byte budget.

    EDGEPACK  u32 header length  header (JSON: the key, the payload's size and SHA-256)  padding to 64  payload

One file an article, named by its key. Promises: a file is whole or not there; what is damaged, cut or of another key is
deleted and reported as missing; the budget is kept by deleting what was read longest ago. Knows nothing of llama.cpp: a
payload is bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.base.files import full_disk_is_an_error, write_atomic
from runtime.engine.core.composition import SUFFIX, KvKey
from runtime.errors import EdgedeskError

MAGIC = b"EDGEPACK"
ALIGN = 64
MAX_HEADER_BYTES = 4096


def tokens_hash(tokens: Sequence[int]) -> str:
    """SHA-256 of token ids as little-endian int32."""
    return hashlib.sha256(np.asarray(tokens, dtype="<i4").tobytes()).hexdigest()


class KvStore:
    """A folder of packs; one process at a time."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self._checked: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, key: KvKey) -> bool:
        """Whether there is a file of this key; it may still turn out to be damaged."""
        return (self.folder / key.name).is_file()

    def read(self, key: KvKey) -> NDArray[np.uint8] | None:
        """The payload, mapped into memory, its checksum compared when it is read for the first time; or None."""
        path = self.folder / key.name
        try:
            payload = self._open(path, key)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            self._checked.discard(key.name)
            with suppress(OSError):
                path.unlink()
            return None
        return payload

    def write(self, key: KvKey, payload: NDArray[np.uint8]) -> bool:
        """Keep a payload; False when the budget or the disk has no room for it."""
        if payload.nbytes > self.budget_bytes:
            return False
        told = {"key": asdict(key), "bytes": payload.nbytes, "sha256": hashlib.sha256(payload.data).hexdigest()}
        header = json.dumps(told).encode()
        start = MAGIC + struct.pack("<I", len(header)) + header
        self._make_room(payload.nbytes + len(start) + ALIGN)
        try:
            with full_disk_is_an_error(self.folder):
                write_atomic(self.folder / key.name, (start, bytes(-len(start) % ALIGN), payload.tobytes()))
        except (EdgedeskError, OSError):
            return False  # compiled articles only save time
        self._checked.add(key.name)
        return True

    def _open(self, path: Path, key: KvKey) -> NDArray[np.uint8]:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError("not a pack")
            (length,) = struct.unpack("<I", file.read(4))
            if length > MAX_HEADER_BYTES:
                raise ValueError("header too long")
            told = json.loads(file.read(length))
        start = len(MAGIC) + 4 + length
        start += -start % ALIGN
        if told["key"] != asdict(key) or path.stat().st_size != start + told["bytes"]:
            raise ValueError("of another key, or cut")
        payload = np.memmap(path, dtype=np.uint8, mode="r", offset=start)
        if key.name not in self._checked:
            if hashlib.sha256(payload.data).hexdigest() != told["sha256"]:
                raise ValueError("damaged")
            self._checked.add(key.name)
        return payload

    def _make_room(self, size: int) -> None:
        files = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self.folder.glob(f"*{SUFFIX}"))
        used = sum(bytes_ for _, bytes_, _ in files)
        for _, bytes_, path in files:
            if used + size <= self.budget_bytes:
                return
            path.unlink(missing_ok=True)
            used -= bytes_


def usage(folder: Path) -> tuple[int, int]:
    """(packs, bytes) in a folder."""
    sizes = [path.stat().st_size for path in folder.glob(f"*{SUFFIX}")]
    return len(sizes), sum(sizes)
