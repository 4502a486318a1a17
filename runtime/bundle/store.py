"""The files of all generations, each kept once under its SHA-256, and the copying of what is missing.

    EDGEDESK_HOME/store/sha256/<sha256>    whole and checked: a file gets this name after its hash was compared
    EDGEDESK_HOME/store/partial/<sha256>   a copy that was cut short; the next run continues it

Generations link to these files, so a file that two of them have is on disk once and an update copies what changed.
Promises: a name below `sha256/` belongs to those very bytes, on disk before the name is; a copy that was cut short
reads at most one piece again, and its whole hash is compared. Knows nothing of bundles and signatures.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from runtime.base.files import fsync_folder, private_folder, sha256_file
from runtime.base.manifest import FileEntry
from runtime.bundle.sources import CHUNK_BYTES, Source
from runtime.errors import IntegrityError, MissingError

Advance = Callable[[int], None]
"""Called with the bytes done since."""


class Store:
    """The store of one home; the caller holds the lock of installing."""

    def __init__(self, home: Path) -> None:
        self.root = home / "store"
        self._whole = self.root / "sha256"
        self._partial = self.root / "partial"

    def prepare(self) -> None:
        """Make its folders."""
        for folder in (self.root, self._whole, self._partial):
            private_folder(folder)

    def path(self, sha256: str) -> Path:
        """Where a file lies, or would."""
        return self._whole / sha256

    def missing(self, entries: Iterable[FileEntry], *, trusted: Collection[str] = ()) -> list[FileEntry]:
        """Which files must be copied, each hash once. A file that is there is read again, unless it is `trusted`."""
        found: dict[str, FileEntry] = {}
        for entry in entries:
            if entry.sha256 not in found and not self._has(entry, entry.sha256 in trusted):
                found[entry.sha256] = entry
        return list(found.values())

    def bytes_to_copy(self, entries: Iterable[FileEntry]) -> int:
        """How much of these is still to be read."""
        return sum(entry.bytes - min(entry.bytes, self._partial_bytes(entry)) for entry in entries)

    def copy(self, source: Source, entry: FileEntry, name: str, advance: Advance) -> None:
        """Copy one file in, continuing where an earlier copy stopped; `name` is what it is called in the source.

        `IntegrityError` when what came is not what was promised; then nothing of it is kept.
        """
        known = min(self._partial_bytes(entry), entry.bytes)
        try:
            self._copy(source, entry, name, advance)
        except IntegrityError:
            (self._partial / entry.sha256).unlink(missing_ok=True)
            if not known:
                raise
            # After a power cut the tail of an unfinished copy may be anything. Once more, from the beginning.
            advance(-known)
            self._copy(source, entry, name, advance)

    def settle(self) -> None:
        """Make the names of copied files survive a power cut."""
        fsync_folder(self._whole)

    def drop_partial(self, keep: Collection[str] = ()) -> None:
        """Delete unfinished copies but those of these hashes."""
        if self._partial.is_dir():
            for path in self._partial.iterdir():
                if path.name not in keep:
                    path.unlink()

    def drop_unused(self) -> int:
        """Delete files that no generation links to; returns their bytes."""
        freed = 0
        if self._whole.is_dir():
            for path in self._whole.iterdir():
                status = path.stat()
                if status.st_nlink == 1:
                    path.unlink()
                    freed += status.st_size
        return freed

    def _has(self, entry: FileEntry, trusted: bool) -> bool:
        path = self.path(entry.sha256)
        if not path.is_file() or path.is_symlink():
            return False
        if path.stat().st_size == entry.bytes and (trusted or sha256_file(path) == entry.sha256):
            return True
        # Damaged on this disk. Generations that link to it keep the damaged bytes; the name gets new ones.
        path.unlink()
        return False

    def _partial_bytes(self, entry: FileEntry) -> int:
        try:
            return (self._partial / entry.sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def _copy(self, source: Source, entry: FileEntry, name: str, advance: Advance) -> None:
        wrong = IntegrityError(
            f"'{entry.path}' is not what was built", where=source.where, hint="copy the folder again"
        )
        partial = self._partial / entry.sha256
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # Without a buffer of Python's: what was read is the kernel's at once, so a kill loses no more than a piece.
        with os.fdopen(handle, "r+b", buffering=0) as copy:
            sha256, size = hashlib.sha256(), 0
            while chunk := copy.read(CHUNK_BYTES):
                sha256.update(chunk)
                size += len(chunk)
            advance(size)
            if size > entry.bytes:
                raise wrong
            try:
                # Asked for also when nothing should follow: a longer file is another one.
                for chunk in source.read(name, size):
                    size += len(chunk)
                    if size > entry.bytes:
                        raise wrong
                    sha256.update(chunk)
                    _write_all(copy.fileno(), chunk)
                    advance(len(chunk))
            except MissingError:
                missing = f"'{entry.path}' is missing"
                raise IntegrityError(missing, where=source.where, hint="copy the folder again") from None
            if size != entry.bytes or sha256.hexdigest() != entry.sha256:
                raise wrong
            os.fsync(copy.fileno())
        os.replace(partial, self.path(entry.sha256))


def _write_all(handle: int, chunk: bytes) -> None:
    """Write a whole piece; the kernel may take it in parts."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(handle, view) :]
