"""What of a release a branch believes: TUF metadata checked with python-tuf, beginning from what it believed before.

Promises: nothing of a release is believed that is not signed by as many keys as the root of this branch demands;
metadata is read no further than its limits; what was verified before an error is kept, as TUF asks of a client, so that
a new root and a newer timestamp count also when the rest of the release is missing or false. python-tuf writes its
files without fsync, so it works in a scratch folder, and `trust_record` writes what it believed. Knows nothing of what
is in the files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from runtime.base.manifest import FileEntry
from runtime.bundle.release_format import METADATA, PARTS, bundle_path, file_name
from runtime.bundle.rings import RING_TARGET, AllowedBranches, allowed_branches
from runtime.bundle.sources import Source
from runtime.bundle.trust_record import (
    COUNTED,
    LIMITS,
    HighWaterMark,
    TrustRecord,
    raise_mark,
    read_record,
    signed_at,
    write_record,
)
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError

MAX_FILES = 200_000


@dataclass(frozen=True)
class VerifiedRelease:
    """A release whose metadata is believed; its files are still to be compared with their hashes."""

    versions: Mapping[str, int]
    """By role; `snapshot` counts releases."""
    files: tuple[FileEntry, ...]
    """The files of the bundle, by their path in it."""
    places: Mapping[str, str]
    """Where each of them lies below the release."""
    app: tuple[FileEntry, ...]
    """The files of Edgedesk itself: wheels and units; not installed with a bundle."""
    branches: AllowedBranches
    """Those that may take it."""
    root_keys: tuple[str, ...]
    """Ids of the root keys, for a person to compare at the first installation."""
    first: bool
    """Whether this branch had no root before and none was given."""


def verify_release(source: Source, home: Path, now: datetime, *, root: bytes | None = None) -> VerifiedRelease:
    """Check a release's metadata and write down what was believed; the caller holds `generations.installing`.

    `root` is the root to begin with in a branch that has none; without it the release's own first root is taken, and
    `first` says so. `IntegrityError` says what is wrong: signature, expiry, an earlier version, a mix of releases.
    """
    first = root is None and read_record(home).root() is None
    with believing(source, home, now, root=root) as metadata:
        metadata.refresh()
        for part in PARTS:
            metadata.find(f"{part}/-")  # loads the part's own metadata
        believed = metadata.believed()
        _require_parts(believed, source.where)
        files, places, app, branches = _list_files(metadata, believed, source.where)
    versions = {role: Metadata[Any].from_bytes(believed[role].encode()).signed.version for role in COUNTED}
    new_root: Root = Metadata[Root].from_bytes(believed["root"].encode()).signed
    return VerifiedRelease(versions, files, places, app, branches, tuple(new_root.roles["root"].keyids), first)


class BelievedMetadata:
    """The metadata of one release as TUF's client workflow believes it, step by step."""

    def __init__(self, updater: Updater, folder: Path) -> None:
        self._updater = updater
        self._folder = folder

    def refresh(self) -> None:
        """Root, timestamp, snapshot and targets, in this order."""
        self._updater.refresh()

    def find(self, target: str) -> TargetFile | None:
        """What the role that may sign a path says of it, loading the roles asked on the way; None without one."""
        return self._updater.get_targetinfo(target)

    def believed(self) -> dict[str, str]:
        """Everything believed so far, or earlier, by role; root is there from the beginning."""
        return {path.stem: path.read_text(encoding="utf-8") for path in self._folder.glob("*.json")}


@contextmanager
def believing(
    source: Source, home: Path, now: datetime, *, root: bytes | None = None, limits: UpdaterConfig = LIMITS
) -> Iterator[BelievedMetadata]:
    """Read a source's metadata, beginning from what a home trusts, and write down what of it was believed in the end.

    After an error that is what was verified before it, unless nobody vouched for the root that it began with. Errors of
    python-tuf become ours.
    """
    record = read_record(home)
    known = record.root()
    begin = known.encode() if known is not None else root if root is not None else _first_root(source)
    with tempfile.TemporaryDirectory(prefix="edgedesk-tuf-") as scratch:
        folder = Path(scratch)
        before = record.state.metadata if record.state else {}
        for role, text in before.items():
            (folder / f"{role}.json").write_text(text, encoding="utf-8")
        metadata: BelievedMetadata | None = None
        try:
            fetcher = _Fetcher(source)
            with _errors_are_ours(source.where, folder, before, fetcher.read):
                updater = Updater(str(folder), f"release:{METADATA}/", fetcher=fetcher, config=limits, bootstrap=begin)
                metadata = BelievedMetadata(updater, folder)
                yield metadata
        except EdgedeskError:
            if metadata and (known is not None or root is not None):
                # A part of a release: only the error that is on its way already says more about it.
                with suppress(IntegrityError):
                    _keep_part(home, record, begin, metadata.believed(), source.where)
            raise
        believed = metadata.believed()
        counted = [role for role in COUNTED if role in believed]
        mark = raise_mark(record.mark, believed, counted, source.where)
        _check_expiry({role: believed[role] for role in counted}, record.mark, now, source.where)
        write_record(home, mark, believed)


def _keep_part(home: Path, record: TrustRecord, begin: bytes, believed: Mapping[str, str], where: str) -> None:
    """Write down what was verified before an error: roles whose metadata is another than it was."""
    before = record.state.metadata if record.state else {}
    changed = [role for role, text in believed.items() if role != "root" and before.get(role) != text]
    if changed or believed["root"].encode() != begin:
        write_record(home, raise_mark(record.mark, believed, ["root", *changed], where), believed)


def _check_expiry(believed: Mapping[str, str], mark: HighWaterMark | None, now: datetime, where: str) -> None:
    """`IntegrityError` for a role that has expired, also where the clock stands before a time it cannot be before."""
    parsed: dict[str, Metadata[Any]] = {role: Metadata.from_bytes(text.encode()) for role, text in believed.items()}
    # A clock that stands before a time at which something was signed is wrong: then that time counts.
    times = (now, signed_at(parsed["timestamp"].signed), mark.signed if mark else None)
    lowest = max(time for time in times if time)
    for role, each in parsed.items():
        if each.signed.is_expired(lowest):
            raise _expired(role, where)


class _Fetcher(FetcherInterface):
    """Reads metadata for python-tuf through a source of ours, which bounds how much, and remembers what came."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.read: dict[str, bytes] = {}
        """The newest file of each role that was read to its end; nothing of it need be believed."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        name, data = url.removeprefix("release:"), bytearray()
        try:
            for chunk in self._source.read(name):
                data += chunk
                yield chunk
        except MissingError as error:
            raise DownloadHTTPError(error.what, 404) from error
        self.read[PurePosixPath(name).name.removesuffix(".json").rpartition(".")[2]] = bytes(data)


def _require_parts(believed: Mapping[str, str], where: str) -> None:
    targets: Targets = Metadata[Targets].from_bytes(believed["targets"].encode()).signed
    for part in PARTS:
        if not targets.delegations or part not in (targets.delegations.roles or {}):
            raise IntegrityError(
                f"no release of Edgedesk: nobody may sign its part '{part}'", where=where, hint="check the path"
            )


def _list_files(
    metadata: BelievedMetadata, believed: Mapping[str, str], where: str
) -> tuple[tuple[FileEntry, ...], dict[str, str], tuple[FileEntry, ...], AllowedBranches]:
    """The files of all parts, each only from the role that may sign its path, and whom the release is for."""
    files, places, app, branches = [], {}, [], AllowedBranches()
    for part in PARTS:
        targets: Targets = Metadata[Targets].from_bytes(believed[part].encode()).signed
        if len(targets.targets) > MAX_FILES:
            raise IntegrityError(
                f"{len(targets.targets):,} files in the part '{part}'", where=where, hint="do not use it"
            )
        for path, info in targets.targets.items():
            sha256 = info.hashes.get("sha256")
            # The walk of TUF's delegations decides whose word counts: a part that names another's path is not heard.
            if sha256 is None or not path.startswith(f"{part}/") or metadata.find(path) != info:
                raise IntegrityError(
                    f"the part '{part}' names a file it may not sign", where=where, hint="do not use it"
                )
            if path == RING_TARGET:
                branches = _branches(info, where)
            if part == "app":
                app.append(FileEntry(path=path.removeprefix("app/"), sha256=sha256, bytes=info.length))
                continue
            name = bundle_path(path)
            if name in places or (part == "model" and name.startswith("articles/")):
                raise IntegrityError(f"'{name}' is named by two parts", where=where, hint="do not use it")
            files.append(FileEntry(path=name, sha256=sha256, bytes=info.length))
            places[name] = file_name(path, sha256)
    return tuple(sorted(files, key=lambda entry: entry.path)), places, tuple(app), branches


def _branches(target: TargetFile, where: str) -> AllowedBranches:
    try:
        return allowed_branches(target)
    except InputError as error:
        raise IntegrityError(f"the release is not believed: {error.what}", where=where, hint=error.hint) from None


def _first_root(source: Source) -> bytes:
    """The release's first root, for a branch that has none."""
    data = b""
    try:
        for chunk in source.read(f"{METADATA}/1.root.json"):
            data += chunk
            if len(data) > LIMITS.root_max_length:
                raise IntegrityError("metadata/1.root.json is too long", where=source.where, hint="do not use it")
    except MissingError:
        raise MissingError(
            "no signed release: metadata/1.root.json is missing", where=source.where, hint="check the path"
        ) from None
    return data


def _expired(what: str, where: str) -> IntegrityError:
    return IntegrityError(
        f"the release is out of date: its '{what}' has expired",
        where=where,
        hint="take a newer release, and check this machine's clock and date",
    )


@contextmanager
def _errors_are_ours(where: str, folder: Path, before: Mapping[str, str], read: Mapping[str, bytes]) -> Iterator[None]:
    """What python-tuf says, in one sentence of ours, told by the class of its error and never by its words.

    `folder` is its own, `before` what was believed at first, and `read` what it has read since, by role.
    """
    try:
        yield
    except ExpiredMetadataError as error:
        raise _expired(_expired_role(folder, read), where) from error
    except DownloadLengthMismatchError as error:
        raise IntegrityError("metadata is longer than it may be", where=where, hint="do not use it") from error
    except DownloadHTTPError as error:
        raise MissingError(f"not a whole release: {error}", where=where, hint="copy the release again") from error
    except DownloadError as error:
        if isinstance(error.__cause__, EdgedeskError):
            raise error.__cause__ from None
        raise IntegrityError(f"metadata cannot be read: {error}", where=where, hint="copy it again") from error
    except BadVersionNumberError as error:
        if not _is_earlier(before, read):  # versions of one release that do not fit each other
            raise _not_believed(error, where) from error
        raise IntegrityError(
            f"an earlier release than this branch has seen: {_first_line(error)}",
            where=where,
            hint="take the newest release; if it is refused, too, tell head office",
        ) from error
    except (RepositoryError, DeserializationError) as error:
        raise _not_believed(error, where) from error


def _expired_role(folder: Path, read: Mapping[str, bytes]) -> str:
    """Which role has expired, where python-tuf says that one has: the first in the order in which it checks them.

    A role's end may be met only when the next one is read.
    """
    known = {path.stem: path.read_bytes() for path in folder.glob("*.json")}
    known |= {role: data for role, data in read.items() if role != "root"}  # of roots the last one believed counts
    now = datetime.now(UTC)
    in_order = [role for role in ("root", "timestamp", "snapshot", *reversed(tuple(read))) if role in known]
    for role in in_order:
        if Metadata[Any].from_bytes(known[role]).signed.is_expired(now):
            return role
    return in_order[-1]


def _is_earlier(before: Mapping[str, str], read: Mapping[str, bytes]) -> bool:
    """Whether a version that was read, of a file or in it, is below the one that was believed before."""
    for role in ("timestamp", "snapshot"):
        if role not in before or role not in read:
            continue
        old, new = (Metadata[Any].from_bytes(data).signed for data in (before[role].encode(), read[role]))
        if new.version < old.version:
            return True
        if role == "timestamp" and new.snapshot_meta.version < old.snapshot_meta.version:
            return True
        if role == "snapshot" and any(
            name in new.meta and new.meta[name].version < meta.version for name, meta in old.meta.items()
        ):
            return True
    return False


def _not_believed(error: Exception, where: str) -> IntegrityError:
    return IntegrityError(
        f"the release is not believed: {_first_line(error)}",
        where=where,
        hint="take it from head office again; if it is refused again, tell them: its signatures do not fit",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
