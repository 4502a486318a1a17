"""Which bundle a branch runs: numbered generations on disk, and a `current` link that is switched by rename.

    EDGEDESK_HOME/  generations/1/  generations/2/ …  current -> generations/2  store/  install.lock

A generation's files are hard links to those of the store (`runtime.bundle.store`). Promises: `current` leads to a
whole, checked generation or does not exist, whenever the process is killed or the power goes; an install that was cut
short converges when it is run again; two installers never work at once; nobody but the owner can look into an installed
bundle. Every file hangs on the manifest's hashes, and nothing of a bundle is parsed before its own was compared.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.base.files import fsync_folder, full_disk_is_an_error, need_space, new_folder, private_folder, write_atomic
from runtime.base.home import locked, trusts_a_root
from runtime.base.manifest import MANIFEST, FileEntry, Manifest, manifest_text, read_manifest
from runtime.bundle.bundle import Bundle, BundleInfo, open_bundle, read_bundle_manifest
from runtime.bundle.sources import FolderSource, Source
from runtime.bundle.store import Store
from runtime.errors import EdgedeskError, IntegrityError, MissingError, SpaceError

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
    now = current_number(home)
    out = []
    for number in _numbers(home):
        try:
            info = open_bundle(_folder(home, number), verify=False).info
        except EdgedeskError:
            continue
        out.append(InstalledGeneration(number, info, number == now))
    return out


def install(bundle_dir: Path, home: Path, progress: Progress | None = None, *, signed_only: bool = False) -> int:
    """Copy a bundle in, check every byte of it, and make it current; returns its generation.

    Nobody has signed a bundle: `IntegrityError` with `signed_only`, and in a home that believes a root. One that is
    installed already and still whole is only made current. Raises `BusyError` when another installer is at work,
    `SpaceError` before anything is copied, `IntegrityError` naming the file that is not what was built; whatever it
    raises, the generation that was current stays so.
    """
    if not bundle_dir.is_dir():
        raise MissingError("no such bundle folder", where=str(bundle_dir), hint="check the path")
    manifest = read_bundle_manifest(bundle_dir)
    with installing(home):
        # Below the lock: an update beside it may be writing down the first root that this branch believes.
        if signed_only or trusts_a_root(home):
            asked = "--root asks for" if signed_only else "this branch takes only"
            raise IntegrityError(
                f"a plain bundle, which nobody has signed, and {asked} a signed release",
                where=str(bundle_dir),
                hint="ask head office for a signed release",
            )
        number = add_generation(home, FolderSource(bundle_dir), manifest, progress=progress)
        switch(home, number)
        return number


def add_generation(
    home: Path,
    source: Source,
    manifest: Manifest,
    *,
    places: Mapping[str, str] | None = None,
    trusted: Collection[str] = (),
    progress: Progress | None = None,
) -> int:
    """Make a generation of a manifest's files; returns its number, that of an installed one when it is the same.

    The caller holds `installing`. `places` says where a file lies in the source, by default under its own path. Files
    with a hash in `trusted` are not read again when the store has them. Nothing is made current.
    """
    number = _find_installed(home, manifest)
    if number is not None:
        return number
    store = Store(home)
    store.prepare()
    missing = store.missing(manifest.files, trusted=trusted)
    store.drop_partial(keep={entry.sha256 for entry in missing})
    need_space(home, store.bytes_to_copy(missing) + SPARE_BYTES, "the bundle")
    _copy_missing(store, source, manifest, missing, places or {}, progress)
    number = max(_numbers(home), default=0) + 1
    private_folder(home / "generations")
    with new_folder(_folder(home, number), private=True) as partial:
        for entry in manifest.files:
            path = partial / PurePosixPath(entry.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(store.path(entry.sha256))
        write_atomic(partial / MANIFEST, manifest_text(manifest), mode=0o600)
        # What was written is what was hashed; whether it is a bundle that can be used is a question of its own.
        open_bundle(partial, verify=False, check_models=True)
    return number


def _copy_missing(
    store: Store,
    source: Source,
    manifest: Manifest,
    missing: list[FileEntry],
    places: Mapping[str, str],
    progress: Progress | None,
) -> None:
    all_bytes = sum(entry.bytes for entry in manifest.files)
    # What the store has counts as done: two files with the same bytes are copied once.
    done = all_bytes - sum(entry.bytes for entry in missing)
    for entry in missing:

        def advance(count: int, name: str = entry.path) -> None:
            nonlocal done
            done += count
            if progress:
                progress(name, done, all_bytes)

        store.copy(source, entry, places.get(entry.path, entry.path), advance)
    store.settle()
    if progress and not missing:
        progress("", all_bytes, all_bytes)


def rollback(home: Path, to: int | None = None, *, skip_damaged: bool = True) -> int:
    """Make an earlier generation current, the newest whole one or `to`; returns its number.

    Every byte of it is verified first. Where nobody is asked, a damaged one is passed over; without `skip_damaged` it
    is an `IntegrityError` that names it and offers the next, and nothing is changed. `MissingError` without an earlier
    generation that could be used.
    """
    with installing(home, "rollback"):
        now = current_number(home)
        earlier = [number for number in reversed(_numbers(home)) if now is not None and number < now]
        if to is not None and to not in earlier:
            which = ", ".join(map(str, earlier)) or "none"
            raise MissingError(
                f"no earlier generation {to}", where=str(home), hint=f"earlier than the one that runs: {which}"
            )
        damaged: tuple[int, EdgedeskError] | None = None
        for number in (to,) if to is not None else earlier:
            error = _damage(_folder(home, number))
            if error is None and (damaged is None or skip_damaged):
                switch(home, number)
                return number
            if error is None:
                break
            damaged = damaged or (number, error)
    if damaged is not None and not skip_damaged:
        raise _damaged_generation(home, *damaged, earlier)
    raise MissingError("no earlier generation to go back to", where=str(home), hint="edgedesk generations lists them")


def _damaged_generation(home: Path, number: int, error: EdgedeskError, earlier: Sequence[int]) -> IntegrityError:
    """What is damaged in a generation, and which whole one there is instead."""
    whole = next((other for other in earlier if other != number and _damage(_folder(home, other)) is None), None)
    hint = "install its release again: edgedesk install RELEASE"
    if whole is not None:
        info = installed_bundle(home, whole).info
        hint = f"generation {whole}, {info.name} {info.version}, is whole: edgedesk rollback --to {whole}"
    return IntegrityError(f"generation {number} is damaged: {error.what}", where=error.where, hint=hint)


def activate(home: Path, number: int) -> None:
    """Make an installed generation current; `IntegrityError` when it is not whole any more."""
    with installing(home, "experiment"):
        installed_bundle(home, number)
        open_bundle(_folder(home, number), verify=True)
        switch(home, number)


def clean_up(
    home: Path, *, keep: int, max_bytes: int = 0, protected: Collection[int] = (), drop: int | None = None
) -> tuple[int, ...]:
    """Delete old generations and the files that only they had; returns their numbers.

    The newest `keep` stay, fewer when together they take more than `max_bytes` (0 = no bound); the current one, the one
    before it and the `protected` stay in any case. `drop` is one that goes although it is new: its trial failed. The
    caller holds `installing`.
    """
    now, numbers = current_number(home), _numbers(home)
    sizes = {number: _own_bytes(_folder(home, number)) for number in numbers} if max_bytes else {}
    going = removable(numbers, now, keep=keep, sizes=sizes, max_bytes=max_bytes, protected=protected, drop=drop)
    for number in going:
        # Under another name first: a half-deleted folder must not look like a generation.
        gone = home / "generations" / f".{number}.gone"
        _folder(home, number).rename(gone)
        fsync_folder(home / "generations")
        shutil.rmtree(gone)
    Store(home).drop_unused()
    return going


def removable(
    numbers: Sequence[int],
    current: int | None,
    *,
    keep: int,
    sizes: Mapping[int, int],
    max_bytes: int,
    protected: Collection[int],
    drop: int | None,
) -> tuple[int, ...]:
    """Which generations go, oldest first; pure. `numbers` ascend; `sizes` are needed with a bound in bytes."""
    if current is None:
        return ()  # what a branch ran is not known: then nothing may go
    before = max((number for number in numbers if number < current and number != drop), default=None)
    fixed = {current, before, *protected}
    going = [drop] if drop in numbers and drop not in fixed else []
    left = [number for number in numbers if number not in going]
    for number in [number for number in left if number not in fixed]:
        if len(left) <= keep and (not max_bytes or sum(sizes[each] for each in left) <= max_bytes):
            break
        left.remove(number)
        going.append(number)
    return tuple(number for number in going if number is not None)


def _own_bytes(folder: Path) -> int:
    """What deleting a generation would free: files that it shares with others count by their share."""
    return sum(
        status.st_size // max(1, status.st_nlink - 1)
        for path in folder.rglob("*")
        if path.is_file() and (status := path.stat())
    )


def _find_installed(home: Path, manifest: Manifest) -> int | None:
    """The newest generation that has these very files, all still whole."""
    wanted = {entry.path: entry for entry in manifest.files}
    for number in reversed(_numbers(home)):
        try:
            same = {entry.path: entry for entry in read_manifest(_folder(home, number)).files} == wanted
        except EdgedeskError:
            continue
        if same and _damage(_folder(home, number)) is None:
            return number
    return None


def _damage(folder: Path) -> EdgedeskError | None:
    """What is wrong with a generation's files; None where every byte is what was built."""
    try:
        open_bundle(folder, verify=True)
    except EdgedeskError as error:
        return error
    return None


def switch(home: Path, number: int) -> None:
    """Point `current` at a generation: a new link beside it, renamed over it, on disk when this returns."""
    link = home / f".{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(_folder(Path(), number))
    os.replace(link, home / CURRENT)
    fsync_folder(home)


def _sweep(home: Path) -> None:
    """Delete what a killed installer or clean-up left half-made."""
    for pattern in (".*.partial", ".*.gone"):
        for path in (home / "generations").glob(pattern):
            shutil.rmtree(path)


def _folder(home: Path, number: int) -> Path:
    return home / "generations" / str(number)


def _numbers(home: Path) -> list[int]:
    folder = home / "generations"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if re.fullmatch(r"[1-9]\d*", name))


def current_number(home: Path) -> int | None:
    """The generation that `current` leads to; None without one."""
    link = home / CURRENT
    return int(link.readlink().name) if link.is_symlink() and link.readlink().name.isdecimal() else None


@contextmanager
def installing(home: Path, who: str = "install") -> Iterator[None]:
    """Hold the lock of whoever installs, updates, goes back or cleans up; `BusyError` at once names its holder.

    `who` is the command that others are told is at work.

    What a killed installer left half-made goes first. On a full disk unfinished copies go as well, so that the branch
    can go on working; else they stay, and the next run continues them.
    """
    with full_disk_is_an_error(home):
        private_folder(home)
        with locked(home / "install.lock", who, home):
            try:
                with full_disk_is_an_error(home):
                    _sweep(home)
                    yield
            except SpaceError:
                Store(home).drop_partial()
                raise
