"""Packs: stored keys and values on disk, in a byte budget.

    EDGEPAC3  u32 header length  header (JSON: see `_Header`)  padding to 64  payload

EDGEPAC2, which had no coding in its header, is read as f16. One file for each key. Promises: a file is complete or not
there; one that is damaged, cut or of another key is deleted and reported as missing; the budget is kept by deleting
what was read longest ago; files and folder are the owner's alone, since they hold the token ids of articles or
conversations. Knows nothing of llama.cpp: a payload is bytes.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from runtime.base.files import full_disk_is_an_error, write_atomic
from runtime.engine.core.composition import PACK_SUFFIX, KvKey
from runtime.engine.core.options import ArticleCoding
from runtime.errors import EdgedeskError

MAGIC, MAGIC_BEFORE = b"EDGEPAC3", b"EDGEPAC2"
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

    def coding(self, key: KvKey) -> ArticleCoding | None:
        """How the payload of this key is stored; None where there is none."""
        ...

    def read(self, key: KvKey) -> NDArray[np.uint8] | None:
        """The payload, or None."""
        ...

    def write(
        self,
        key: KvKey,
        payload: Payload,
        *,
        coding: ArticleCoding = "f16",
        f16_bytes: int | None = None,
        last_use: float | None = None,
    ) -> bool:
        """Keep a payload; False when there is no room for it.

        `f16_bytes`: its size in f16, by default what it has. `last_use`: when it was asked for, in seconds as files
        have them, by default now; what was asked for later is not deleted for it.
        """
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

    def coding(self, key: KvKey) -> None:  # noqa: ARG002 - the interface's
        """Nothing."""
        return

    def read(self, key: KvKey) -> None:  # noqa: ARG002 - the interface's
        """Nothing."""
        return

    def write(
        self,
        key: KvKey,  # noqa: ARG002 - the interface's, here and below
        payload: Payload,  # noqa: ARG002
        *,
        coding: ArticleCoding = "f16",  # noqa: ARG002
        f16_bytes: int | None = None,  # noqa: ARG002
        last_use: float | None = None,  # noqa: ARG002
    ) -> bool:
        """Never."""
        return False

    def clear(self) -> None:
        """There is nothing to delete."""


class _Header(BaseModel):
    """A pack's header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: KvKey
    bytes: int
    """The payload's."""
    sha256: str
    """Of the payload."""
    coding: ArticleCoding = "f16"
    f16_bytes: int | None = None
    """What the payload takes in f16; None where that is `bytes`."""


class KvStore:
    """A folder of packs; one process at a time. A second thread may write."""

    keeps = True

    def __init__(self, folder: Path, budget_bytes: int, *, max_age_s: float | None = None) -> None:
        """`max_age_s`: delete packs that were not read for so long, whatever the budget."""
        self.folder = folder
        self.budget_bytes = budget_bytes
        self._max_age_s = max_age_s
        self._verified: set[str] = set()
        """Files whose checksum was compared since the store was opened; comparing takes as long as reading."""
        self._codings: dict[str, ArticleCoding] = {}
        """Of files whose header was read or written: the question is asked for every article of every prompt."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)

    def has(self, key: KvKey) -> bool:
        """Whether there is a pack of this key; it may still turn out to be damaged."""
        return (self.folder / key.file_name).is_file()

    def coding(self, key: KvKey) -> ArticleCoding | None:
        """How the payload of this key is stored; None where there is none, or its header is damaged."""
        name = key.file_name
        if not (self.folder / name).is_file():
            return None
        if name not in self._codings:
            try:
                self._codings[name] = _read_header(self.folder / name)[0].coding
            except (OSError, ValueError, struct.error):
                return None
        return self._codings[name]

    def read(self, key: KvKey) -> NDArray[np.uint8] | None:
        """The payload, mapped into memory, its checksum compared when it is read for the first time; or None."""
        path = self.folder / key.file_name
        try:
            payload = self._open(path, key)
            os.utime(path)  # the time of the last use, by which the budget is kept
        except FileNotFoundError:
            return None
        except (OSError, ValueError, struct.error):
            self._verified.discard(key.file_name)
            self._codings.pop(key.file_name, None)
            with suppress(OSError):
                path.unlink()
            return None
        return payload

    def write(
        self,
        key: KvKey,
        payload: Payload,
        *,
        coding: ArticleCoding = "f16",
        f16_bytes: int | None = None,
        last_use: float | None = None,
    ) -> bool:
        """Keep a payload; False when the budget or the disk has no room for it. See `PackStore`."""
        size = sum(part.nbytes for part in payload)
        if size > self.budget_bytes:
            return False
        digest = hashlib.sha256()
        for part in payload:
            digest.update(part.data)
        header = _Header(key=key, bytes=size, sha256=digest.hexdigest(), coding=coding, f16_bytes=f16_bytes)
        text = header.model_dump_json().encode()
        start = MAGIC + struct.pack("<I", len(text)) + text
        padding = bytes(-len(start) % ALIGN)
        if not self._make_room(size + len(start) + ALIGN, last_use):
            return False
        try:
            with full_disk_is_an_error(self.folder):
                chunks: tuple[bytes | memoryview, ...] = (start, padding, *(part.data for part in payload))
                write_atomic(self.folder / key.file_name, chunks, mode=0o600)
                if last_use is not None:
                    os.utime(self.folder / key.file_name, (last_use, last_use))
        except (EdgedeskError, OSError):
            return False  # packs only save time
        self._verified.add(key.file_name)
        self._codings[key.file_name] = coding
        return True

    def clear(self) -> None:
        """Delete every pack."""
        delete_packs(self.folder)
        self._verified.clear()
        self._codings.clear()

    def _open(self, path: Path, key: KvKey) -> NDArray[np.uint8]:
        header, start = _read_header(path)
        if header.key != key or path.stat().st_size != start + header.bytes:
            raise ValueError("of another key, or cut")
        payload = np.memmap(path, dtype=np.uint8, mode="r", offset=start)
        if key.file_name not in self._verified:
            if hashlib.sha256(payload.data).hexdigest() != header.sha256:
                raise ValueError("damaged")
            self._verified.add(key.file_name)
        return payload

    def _make_room(self, size: int, before: float | None) -> bool:
        """Delete packs that are too old, then the least recently used until `size` more bytes fit.

        False where they do not; with `before`, nothing is deleted that was used at that time or later.
        """
        stats = [(path.stat(), path) for path in self.folder.glob(f"*{PACK_SUFFIX}")]
        used = sum(stat.st_size for stat, _ in stats)
        oldest = 0.0 if self._max_age_s is None else time.time() - self._max_age_s
        for stat, path in sorted(stats, key=lambda one: (one[0].st_mtime_ns, one[1])):
            if used + size <= self.budget_bytes and stat.st_mtime >= oldest:
                return True
            if before is not None and stat.st_mtime >= before:
                return False
            path.unlink(missing_ok=True)
            used -= stat.st_size
        return used + size <= self.budget_bytes


def _read_header(path: Path) -> tuple[_Header, int]:
    """(header, where the payload begins); `ValueError` for what is no pack."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) not in (MAGIC, MAGIC_BEFORE):
            raise ValueError("not a pack")
        (length,) = struct.unpack("<I", file.read(4))
        if length > MAX_HEADER_BYTES:
            raise ValueError("header too long")
        header = _Header.model_validate_json(file.read(length))
    start = len(MAGIC) + 4 + length
    return header, start + -start % ALIGN


def delete_packs(folder: Path) -> None:
    """Delete every pack of a folder, and what a killed process left of one it was writing."""
    for pattern in (f"*{PACK_SUFFIX}", f".*{PACK_SUFFIX}.*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


class PackUsage(NamedTuple):
    """What a folder of packs holds."""

    packs: int
    bytes: int
    """On disk."""
    f16_bytes: int
    """What the same would take as llama.cpp gives it."""

    @property
    def share(self) -> float:
        """`bytes` of `f16_bytes`; 1 where there is nothing."""
        return self.bytes / self.f16_bytes if self.f16_bytes else 1.0


def usage(folder: Path) -> PackUsage:
    """Count a folder's packs; one that cannot be read counts with its size."""
    packs = size = f16 = 0
    for path in folder.glob(f"*{PACK_SUFFIX}"):
        try:
            size_here = path.stat().st_size
            header, start = _read_header(path)
            f16 += start + (header.bytes if header.f16_bytes is None else header.f16_bytes)
        except FileNotFoundError:
            continue  # deleted meanwhile by a server
        except (OSError, ValueError, struct.error):
            f16 += size_here
        packs, size = packs + 1, size + size_here
    return PackUsage(packs, size, f16)
