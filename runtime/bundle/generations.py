"""Which bundle a branch runs: numbered generations on disk, and a `current` link that is switched by rename.

    EDGEDESK_HOME/  generations/1/  generations/2/ …  current -> generations/2  install.lock

Promises: `current` leads to a whole, checked generation or does not exist, whenever the process is killed or the power
goes; an install that was cut short converges when it is run again; two installers never work at once; nobody but the
owner can look into an installed bundle. Every file hangs on the manifest's hashes, and nothing of a bundle is parsed
before its own was compared. Older generations stay for the way back; nothing here deletes a whole one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.base.files import fsync_folder, full_disk_is_an_error, need_space, new_folder, private_folder, write_atomic
from runtime.base.home import locked
from runtime.base.manifest import MANIFEST, FileEntry, Manifest, manifest_text, read_entry, read_manifest
from runtime.bundle.bundle import Bundle, BundleInfo, open_bundle, read_bundle_manifest
from runtime.errors import EdgedeskError, MissingError

CURRENT = "current"
SPARE_BYTES = 64 * 1024 * 1024
"""Left free beside the bundle, for the index and the journal."""

Progress = Callable[[str, int, int], None]
"""Called with (file, bytes done, bytes in all)."""


@dataclass(frozen=True)
class InstalledGeneration:
    """One installed bundle."""

    number: int
    info: BundleInfo
    current: bool


def current_bundle(home: Path) -> Bundle:
    """The bundle this branch runs; `MissingError` when none is installed. Hashes were checked when it was."""
    if not (home / CURRENT).is_dir():
        raise MissingError("no bundle is installed", where=str(home), hint="edgedesk install BUNDLE")
    return open_bundle((home / CURRENT).resolve(), verify=False)


def installed_bundle(home: Path, number: int) -> Bundle:
    """The bundle of one generation; `MissingError` when it is not there."""
    if not _folder(home, number).is_dir():
        raise MissingError(f"no generation {number}", where=str(home), hint="edgedesk generations lists them")
    return open_bundle(_folder(home, number).resolve(), verify=False)


def generations(home: Path) -> list[InstalledGeneration]:
    """Installed generations that can be read, oldest first."""
    now = _current_number(home)
    out = []
    for number in _numbers(home):
        try:
            info = open_bundle(_folder(home, number), verify=False).info
        except EdgedeskError:
            continue
        out.append(InstalledGeneration(number, info, number == now))
    return out


def install(bundle_dir: Path, home: Path, progress: Progress | None = None) -> int:
    """Copy a bundle in, check every byte of it, and make it current; returns its generation.

    A bundle that is installed already and still whole is only made current. Raises `BusyError` when another installer
    is at work, `SpaceError` before anything is copied, `IntegrityError` naming the file that is not what was built;
    whatever it raises, the generation that was current stays so.
    """
    if not bundle_dir.is_dir():
        raise MissingError("no such bundle folder", where=str(bundle_dir), hint="check the path")
    manifest = read_bundle_manifest(bundle_dir)
    with full_disk_is_an_error(home), _installing(home):
        _sweep(home)
        number = _find_installed(home, manifest)
        if number is None:
            all_bytes = sum(entry.bytes for entry in manifest.files)
            need_space(home, all_bytes + SPARE_BYTES, "the bundle")
            number = max(_numbers(home), default=0) + 1
            private_folder(home / "generations")
            with new_folder(_folder(home, number), private=True) as partial:
                done = 0
                for entry in manifest.files:
                    done = _copy(bundle_dir, entry, partial, done, all_bytes, progress)
                write_atomic(partial / MANIFEST, manifest_text(manifest), mode=0o600)
                # What was written is what was hashed; whether it is a bundle that can be used is a question of its own.
                open_bundle(partial, verify=False, check_models=True)
        _switch(home, number)
        return number


def rollback(home: Path) -> int:
    """Make the newest whole generation before the current one current; returns its number."""
    with full_disk_is_an_error(home), _installing(home):
        now = _current_number(home)
        for number in reversed(_numbers(home)):
            if now is not None and number < now and _is_whole(_folder(home, number)):
                _switch(home, number)
                return number
    raise MissingError("no earlier generation to go back to", where=str(home), hint="edgedesk generations lists them")


def activate(home: Path, number: int) -> None:
    """Make an installed generation current; `IntegrityError` when it is not whole any more."""
    with full_disk_is_an_error(home), _installing(home):
        installed_bundle(home, number)
        open_bundle(_folder(home, number), verify=True)
        _switch(home, number)


def _copy(source: Path, entry: FileEntry, target: Path, done: int, all_bytes: int, progress: Progress | None) -> int:
    """Copy one file, checking the very bytes that are written; returns the bytes done so far."""
    path = target / PurePosixPath(entry.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as copy:
        for chunk in read_entry(source, entry):
            copy.write(chunk)
            done += len(chunk)
            if progress:
                progress(entry.path, done, all_bytes)
    return done


def _find_installed(home: Path, manifest: Manifest) -> int | None:
    """The newest generation made from this very bundle and still whole."""
    for number in reversed(_numbers(home)):
        try:
            same = read_manifest(_folder(home, number)) == manifest
        except EdgedeskError:
            continue
        if same and _is_whole(_folder(home, number)):
            return number
    return None


def _is_whole(folder: Path) -> bool:
    try:
        open_bundle(folder, verify=True)
    except EdgedeskError:
        return False
    return True


def _switch(home: Path, number: int) -> None:
    """Point `current` at a generation: a new link beside it, renamed over it, on disk when this returns."""
    link = home / f".{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(_folder(Path(), number))
    os.replace(link, home / CURRENT)
    fsync_folder(home)


def _sweep(home: Path) -> None:
    """Delete what a killed installer left half-made."""
    for path in (home / "generations").glob(".*.partial"):
        shutil.rmtree(path)


def _folder(home: Path, number: int) -> Path:
    return home / "generations" / str(number)


def _numbers(home: Path) -> list[int]:
    folder = home / "generations"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if re.fullmatch(r"[1-9]\d*", name))


def _current_number(home: Path) -> int | None:
    link = home / CURRENT
    return int(link.readlink().name) if link.is_symlink() and link.readlink().name.isdecimal() else None


@contextmanager
def _installing(home: Path) -> Iterator[None]:
    private_folder(home)
    with locked(home / "install.lock", "install", home):
        yield
