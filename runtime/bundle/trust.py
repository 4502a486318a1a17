"""What of a release a branch believes: TUF metadata checked with python-tuf, and the branch's own high-water mark.

    EDGEDESK_HOME/trust.json        the newest metadata that was believed, root first
    EDGEDESK_HOME/high-water.json   root, and the version of every role, as high as they were ever seen

Promises: nothing of a release is believed that is not signed by as many keys as the root of this branch demands; a role
never goes back to an earlier version, also after `trust.json` was deleted, unless root has given the role another key;
metadata is read no further than its limits. python-tuf writes its files without fsync, so it works in a scratch folder,
and what it believed is then written in one durable rename. Knows nothing of what is in the files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from runtime.base.files import read_text, write_atomic
from runtime.base.manifest import FileEntry
from runtime.bundle.publish import SIGNED
from runtime.bundle.release_format import METADATA, PARTS, bundle_path, file_name
from runtime.bundle.rings import RING_TARGET, AllowedBranches, allowed_branches
from runtime.bundle.sources import Source
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError

TRUST = "trust.json"
HIGH_WATER = "high-water.json"
MAX_FILES = 200_000
LIMITS = UpdaterConfig(
    max_root_rotations=256,
    max_delegations=len(PARTS) + 1,
    root_max_length=512 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=512 * 1024,
    targets_max_length=64 * 1024 * 1024,
)
"""How much of a metadata file is read at most, in bytes: 64 MiB name 200,000 articles."""
Kind = TypeVar("Kind", bound=BaseModel)
_CACHED = ("timestamp", "snapshot", "targets", *PARTS)


class TrustState(BaseModel):
    """`trust.json`: metadata as it was signed, by role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    metadata: dict[str, str] = Field(default_factory=dict)


class HighWaterMark(BaseModel):
    """`high-water.json`: what a branch never goes behind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    """The newest root, so that no other root is believed when `trust.json` is gone."""
    versions: dict[str, int]
    """By role."""
    keys: dict[str, tuple[str, ...]]
    """Key ids of every role: a role whose keys root has replaced begins anew, which is how a company recovers from a
    stolen key that has signed a version of two thousand million."""
    signed: datetime | None = None
    """The newest time at which a believed timestamp was signed; the clock cannot be right before it."""


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
    state: TrustState
    mark: HighWaterMark


def verify_release(source: Source, home: Path, now: datetime, *, root: bytes | None = None) -> VerifiedRelease:
    """Check a release's metadata; writes nothing into the home (`remember` does).

    `root` is the root to begin with in a branch that has none; without it the release's own first root is taken, and
    `first` says so. `IntegrityError` says what is wrong: signature, expiry, an earlier version, a mix of releases.
    """
    mark = _read_state(home / HIGH_WATER, HighWaterMark)
    state = _read_state(home / TRUST, TrustState)
    known = mark.root if mark else state.root if state else None
    first = known is None and root is None
    if known is None:
        begin = root if root is not None else _first_root(source)
    else:
        # The newer of both: a kill may have come between the two writes.
        begin = max((each.root for each in (mark, state) if each), key=_root_version).encode()
    with tempfile.TemporaryDirectory(prefix="edgedesk-tuf-") as scratch, _errors_are_ours(source.where):
        folder = Path(scratch)
        for role, text in (state.metadata if state else {}).items():
            if role in _CACHED:
                (folder / f"{role}.json").write_text(text, encoding="utf-8")
        updater = Updater(str(folder), f"release:{METADATA}/", fetcher=_Fetcher(source), config=LIMITS, bootstrap=begin)
        updater.refresh()
        for part in PARTS:
            updater.get_targetinfo(f"{part}/-")  # loads the part's own metadata
        believed = {role: (folder / f"{role}.json").read_text(encoding="utf-8") for role in ("root", *_CACHED)}
        files, places, app, branches = _list_files(updater, believed, source.where)
    mark = _raise_mark(mark, believed, now, source.where)
    new_state = TrustState(root=believed.pop("root"), metadata=believed)
    new_root: Root = Metadata[Root].from_bytes(new_state.root.encode()).signed
    keys = tuple(new_root.roles["root"].keyids)
    return VerifiedRelease(mark.versions, files, places, app, branches, keys, first, new_state, mark)


def remember(home: Path, release: VerifiedRelease) -> None:
    """Write down what was believed. The mark first: after a kill between the two nothing older is believed."""
    for name, model in ((HIGH_WATER, release.mark), (TRUST, release.state)):
        text = model.model_dump_json(indent=1) + "\n"
        path = home / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text, mode=0o600)


class _Fetcher(FetcherInterface):
    """Reads metadata for python-tuf through a source of ours."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix("release:")
        try:
            yield from self._source.read(name)
        except MissingError as error:
            raise DownloadHTTPError(error.what, 404) from error


def _list_files(
    updater: Updater, believed: Mapping[str, str], where: str
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
            if sha256 is None or not path.startswith(f"{part}/") or updater.get_targetinfo(path) != info:
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


def _raise_mark(mark: HighWaterMark | None, believed: Mapping[str, str], now: datetime, where: str) -> HighWaterMark:
    """The mark with this release's versions; `IntegrityError` when one of them lies behind it."""
    parsed: dict[str, Metadata[Any]] = {role: Metadata.from_bytes(text.encode()) for role, text in believed.items()}
    root, targets, timestamp = parsed["root"].signed, parsed["targets"].signed, parsed["timestamp"].signed
    assert isinstance(root, Root)
    assert isinstance(targets, Targets)
    assert isinstance(timestamp, Timestamp)
    versions = {role: each.signed.version for role, each in parsed.items()}
    keys = {
        role: tuple(sorted((targets if role in PARTS else root).get_delegated_role(role).keyids)) for role in parsed
    }
    for role, version in versions.items():
        same_keys = mark is not None and mark.keys.get(role) == keys[role]
        if mark and (same_keys or role == "root") and version < mark.versions.get(role, 0):
            raise IntegrityError(
                f"an earlier release: '{role}' has version {version}, this branch has seen {mark.versions[role]}",
                where=where,
                hint="take the newest release; to go back to older content head office releases it anew",
            )
    signed = _signed_at(timestamp)
    # A clock that stands before a time at which something was signed is wrong: then that time counts.
    lowest = max((time for time in (now, signed, mark.signed if mark else None) if time), key=lambda time: time)
    for role, each in parsed.items():
        if each.signed.is_expired(lowest):
            raise _expired(role, where)
    seen = max((time for time in (signed, mark.signed if mark else None) if time), default=None)
    return HighWaterMark(root=believed["root"], versions=versions, keys=keys, signed=seen)


def _signed_at(timestamp: Timestamp) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(timestamp.unrecognized_fields.get(SIGNED)))
    except ValueError:
        return None
    return found if found.tzinfo else None


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


def _root_version(text: str) -> int:
    return Metadata[Root].from_bytes(text.encode()).signed.version


def _read_state(path: Path, kind: type[Kind]) -> Kind | None:
    """A state file; None without one. One that cannot be read is an error: to forget it would open the branch."""
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(read_text(path, max_bytes=LIMITS.targets_max_length * 2))
    except (ValidationError, EdgedeskError) as error:
        raise IntegrityError(
            "the branch's record of what it trusts is damaged",
            where=str(path),
            hint="restore it from a backup, or delete it and run: edgedesk install RELEASE --root ROOT.json",
        ) from error


def _expired(what: str, where: str) -> IntegrityError:
    return IntegrityError(
        f"the release is out of date: its '{what}' has expired",
        where=where,
        hint="take a newer release, and check this machine's clock and date",
    )


@contextmanager
def _errors_are_ours(where: str) -> Iterator[None]:
    """What python-tuf says, in one sentence of ours."""
    try:
        yield
    except ExpiredMetadataError as error:
        raise _expired(str(error).split(" ")[0].removesuffix(".json"), where) from error
    except DownloadLengthMismatchError as error:
        raise IntegrityError("metadata is longer than it may be", where=where, hint="do not use it") from error
    except DownloadHTTPError as error:
        raise MissingError(f"not a whole release: {error}", where=where, hint="copy the release again") from error
    except DownloadError as error:
        if isinstance(error.__cause__, EdgedeskError):
            raise error.__cause__ from None
        raise IntegrityError(f"metadata cannot be read: {error}", where=where, hint="copy it again") from error
    except (RepositoryError, DeserializationError) as error:
        raise IntegrityError(
            f"the release is not believed: {_first_line(error)}",
            where=where,
            hint="take it from head office again; if it is refused again, tell them: its signatures do not fit",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
