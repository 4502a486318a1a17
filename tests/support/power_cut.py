"""What a disk may hold after a power cut: system calls of a command, recorded by strace and replayed in legal ways.

A model of a file system that promises no more than POSIX does, after ALICE (Pillai et al., OSDI 2014): a file's bytes
are on disk once the file was synced, a name once the folder it stands in was; anything else may be lost, may have
come in any order, and the last bytes of a write may be torn or zero. Renames and links are atomic.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TRACED = (
    "openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat2", "link", "linkat",
    "symlink", "unlink", "unlinkat", "mkdir", "rmdir", "close",
)  # fmt: skip
OPTIONS = ("-y", "-xx", "-s", "4000000")
SECTOR = 512
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)(?:<(.*?)>)?")
_FD = re.compile(r"(?:\d+|AT_FDCWD)<(.*?)>")


@dataclass
class Inode:
    """A file, a folder or a link."""

    kind: str
    data: bytes = b""
    target: str = ""
    names: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Write:
    """Bytes of a file."""

    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    """A file's new length."""

    inode: int
    size: int


@dataclass(frozen=True)
class Name:
    """A change of names, one or two at once: (folder, name) to an inode, or to nothing."""

    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True)
class Sync:
    """An fsync of a file or a folder."""

    inode: int


Operation = Write | Truncate | Name | Sync


class Recording:
    """The operations of one command on one folder, from strace's log and the folder as it was before."""

    def __init__(self, root: Path, before: Path, log: Path) -> None:
        """`before` is a copy of what lay at `root`, where the command worked."""
        self.root = root
        self.inodes: dict[int, Inode] = {}
        self.operations: list[Operation] = []
        self._seen: dict[int, int] = {}
        self._start = self._load(before)
        self._initial = _copy(self.inodes)
        self._offsets: dict[str, int] = {}
        for line in log.read_text(encoding="latin-1").splitlines():
            if (found := _CALL.match(line)) and int(found[3]) >= 0:
                self._record(found[1], found[2], int(found[3]), found[4])

    def _load(self, path: Path) -> int:
        status = path.lstat()
        if not path.is_dir() and status.st_ino in self._seen:
            return self._seen[status.st_ino]
        number = len(self.inodes) + 1
        if path.is_symlink():
            self.inodes[number] = Inode("link", target=os.readlink(path))
        elif path.is_dir():
            self.inodes[number] = Inode("folder")
            self.inodes[number].names = {child.name: self._load(child) for child in sorted(path.iterdir())}
        else:
            self.inodes[number] = Inode("file", data=path.read_bytes())
            self._seen[status.st_ino] = number
        return number

    def _new(self, inode: Inode) -> int:
        number = max(self.inodes) + 1
        self.inodes[number] = inode
        return number

    def _record(self, call: str, arguments: str, result: int, opened: str | None) -> None:
        paths = [self._path(text) for text in _texts(arguments)]
        handles = [_decode(text) for text in _FD.findall(arguments)]
        if call == "openat":
            place = self._place(paths[0], handles[0] if handles else "")
            if place is None:
                return
            folder, name = place
            if "O_CREAT" in arguments and name not in self.inodes[folder].names:
                self._change([(folder, name, self._new(Inode("file")))])
            elif "O_TRUNC" in arguments:
                self._truncate(self.inodes[folder].names[name], 0)
            self._offsets[str(result)] = 0
        elif call in ("write", "pwrite64"):
            inode = self._find(handles[0])
            if inode is None:
                return
            handle = arguments.split("<", 1)[0]
            data = _bytes(arguments)[:result]
            if call == "pwrite64":
                offset = int(arguments.rsplit(",", 1)[1])
            else:
                offset = self._offsets.get(handle, 0)
                self._offsets[handle] = offset + len(data)
            old = self.inodes[inode].data
            self.inodes[inode].data = old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]
            self.operations.append(Write(inode, offset, data))
        elif call == "ftruncate":
            inode = self._find(handles[0])
            if inode is not None:
                self._truncate(inode, int(arguments.rsplit(",", 1)[1]))
        elif call in ("fsync", "fdatasync"):
            inode = self._find(handles[0])
            if inode is not None:
                self.operations.append(Sync(inode))
        elif call in ("rename", "renameat2"):
            before, after = self._place(paths[0]), self._place(paths[1])
            if before and after:
                moved = self.inodes[before[0]].names[before[1]]
                self._change([(*before, None), (*after, moved)])
        elif call in ("link", "linkat"):
            before, after = self._place(paths[0]), self._place(paths[1])
            if before and after:
                self._change([(*after, self.inodes[before[0]].names[before[1]])])
        elif call == "symlink":
            after = self._place(paths[1])
            if after:
                self._change([(*after, self._new(Inode("link", target=_decode(_texts(arguments)[0]))))])
        elif call == "mkdir":
            after = self._place(paths[0])
            if after:
                self._change([(*after, self._new(Inode("folder")))])
        elif call in ("unlink", "rmdir", "unlinkat"):
            gone = self._place(paths[0], handles[0] if call == "unlinkat" and handles else "")
            if gone:
                self._change([(*gone, None)])

    def _truncate(self, inode: int, size: int) -> None:
        self.inodes[inode].data = self.inodes[inode].data[:size].ljust(size, b"\0")
        self.operations.append(Truncate(inode, size))

    def _change(self, changes: list[tuple[int, str, int | None]]) -> None:
        for folder, name, inode in changes:
            if inode is None:
                self.inodes[folder].names.pop(name, None)
            else:
                self.inodes[folder].names[name] = inode
        self.operations.append(Name(tuple(changes)))

    def _path(self, text: str) -> str:
        return _decode(text)

    def _place(self, path: str, folder: str = "") -> tuple[int, str] | None:
        """(folder, name) of a path below the root; None outside."""
        if not path.startswith("/"):
            path = f"{folder}/{path}"
        try:
            parts = Path(path).relative_to(self.root).parts
        except ValueError:
            return None
        number = self._start
        for part in parts[:-1]:
            if part not in self.inodes[number].names:
                return None
            number = self.inodes[number].names[part]
            if self.inodes[number].kind == "link":
                number = self._follow(number)
        return (number, parts[-1]) if parts else None

    def _follow(self, link: int) -> int:
        number = self._start
        for part in Path(self.inodes[link].target).parts:
            number = self.inodes[number].names[part]
        return number

    def _find(self, path: str) -> int | None:
        if Path(path) == self.root:
            return self._start
        place = self._place(path)
        return self.inodes[place[0]].names.get(place[1]) if place else None

    def cut(self, rng: random.Random) -> dict[int, Inode]:
        """One legal state of the disk: power goes at a random operation."""
        end = rng.randint(0, len(self.operations))
        chance = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        synced: dict[int, int] = {}
        for number, operation in enumerate(self.operations[:end]):
            if isinstance(operation, Sync):
                synced[operation.inode] = number
        disk = _copy(self._initial)
        for number, operation in enumerate(self.operations[:end]):
            match operation:
                case Name(changes):
                    durable = any(synced.get(folder, -1) > number for folder, _, _ in changes)
                    if durable or rng.random() < chance:
                        self._apply(disk, changes)
                case Write(inode, offset, data):
                    if synced.get(inode, -1) > number:
                        _write(disk, self.inodes, inode, offset, data)
                    elif (kept := _torn(rng, chance, data)) is not None:
                        _write(disk, self.inodes, inode, offset, kept)
                case Truncate(inode, size):
                    if synced.get(inode, -1) > number or rng.random() < chance:
                        one = disk.setdefault(inode, Inode("file"))
                        one.data = one.data[:size].ljust(size, b"\0")
        return disk

    def _apply(self, disk: dict[int, Inode], changes: tuple[tuple[int, str, int | None], ...]) -> None:
        for folder, name, inode in changes:
            names = disk.setdefault(folder, Inode("folder")).names
            if inode is None:
                names.pop(name, None)
            else:
                names[name] = inode
                disk.setdefault(inode, Inode(self.inodes[inode].kind, target=self.inodes[inode].target))

    def write(self, disk: dict[int, Inode], to: Path) -> None:
        """Make a state of the disk real at a place that does not exist yet."""
        written: dict[int, Path] = {}
        for path, number in _walk(disk, self._start, to):
            one = disk[number]
            if one.kind == "folder":
                path.mkdir()
            elif one.kind == "link":
                path.symlink_to(one.target)
            elif number in written:
                path.hardlink_to(written[number])
            else:
                path.write_bytes(one.data)
                written[number] = path


def _copy(disk: dict[int, Inode]) -> dict[int, Inode]:
    return {number: Inode(one.kind, one.data, one.target, dict(one.names)) for number, one in disk.items()}


def _walk(disk: dict[int, Inode], number: int, path: Path) -> Iterator[tuple[Path, int]]:
    yield path, number
    if disk[number].kind == "folder":
        for name, child in disk[number].names.items():
            yield from _walk(disk, child, path / name)


def _write(disk: dict[int, Inode], known: dict[int, Inode], inode: int, offset: int, data: bytes) -> None:
    one = disk.setdefault(inode, Inode(known[inode].kind))
    one.data = one.data[:offset].ljust(offset, b"\0") + data + one.data[offset + len(data) :]


def _torn(rng: random.Random, chance: float, data: bytes) -> bytes | None:
    """What of an unsynced write is on disk: all, nothing, its beginning, or zeros in its place."""
    if rng.random() < chance:
        return data
    how = rng.randrange(3)
    if how == 0:
        return None
    if how == 1:
        return data[: rng.randrange(0, len(data) + SECTOR, SECTOR)]
    return bytes(len(data))


def _texts(arguments: str) -> list[str]:
    return re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)


def _decode(text: str) -> str:
    """A path as strace prints it with -xx, or between angle brackets."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode("latin-1"))
    return raw.decode("utf-8", "surrogateescape")


def _bytes(arguments: str) -> bytes:
    return bytes.fromhex(_texts(arguments)[0].replace("\\x", ""))
