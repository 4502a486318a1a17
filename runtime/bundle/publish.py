"""Writes a signed release: files by their hash first, then the metadata, its timestamp last.

Promises: until the new timestamp is renamed into its place, whoever reads the folder finds the release before, whole;
files of the release before stay for those who are copying it. Knows nothing of what is in the files. Head office only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from runtime.base.files import need_space, new_file, open_regular, read_text, sha256_file, write_atomic
from runtime.bundle.bundle import BundleInfo
from runtime.bundle.keys import DAYS, KeyFolder, metadata_bytes, read_metadata
from runtime.bundle.release_format import METADATA, PARTS, TARGETS, Part, file_name
from runtime.bundle.rings import RING_TARGET, AllowedBranches, allowed_branches, with_branches
from runtime.errors import InputError, IntegrityError, UsageError

SIGNED = "x-edgedesk-signed"
"""Field of the timestamp: when it was signed. A branch whose clock stands before it knows that its clock is wrong."""
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class PublishedRelease(NamedTuple):
    """What a publication wrote."""

    version: int
    """Of the snapshot: one more with every publication."""
    parts: dict[str, int]
    """The version of every part's metadata."""
    new_files: int
    new_bytes: int


def publish(
    folder: Path,
    keys: KeyFolder,
    parts: Mapping[Part, Mapping[str, Path]],
    now: datetime,
    *,
    branches: Iterable[str] | None = None,
    progress: Progress = lambda _done, _all: None,
) -> PublishedRelease:
    """Publish parts, each whole: target to the file it is read from. Parts that are not given stay as they are.

    With no part the release is signed again as it is, for another season. `branches`: those that may take it (`rings`);
    without them a new model is for everybody, and a model that is not given stays for those it was for. `MissingError`
    names the key that is not at hand, before anything is written; `UsageError` where there is no model for branches.
    """
    _require_own(folder, keys)
    before = read_published(folder)
    until = _end(now, "timestamp")
    keys.renew_targets(now, until)
    roles: dict[str, Metadata[Targets]] = {}
    for part in PARTS:
        old = before.get(part)
        given = part in parts
        targets = dict(old.signed.targets) if old else {}
        if given:
            targets = {target: _target(target, path) for target, path in sorted(parts[part].items())}
        if part == "model" and branches is not None:
            if RING_TARGET not in targets:
                raise UsageError("no model to roll out", where=str(folder), hint="edgedesk release BUNDLE adds it")
            targets[RING_TARGET] = with_branches(targets[RING_TARGET], branches)
        if old is None or old.signed.targets != targets or _must_be_signed(keys, old, part, now, until):
            version = old.signed.version + 1 if old else 1
            roles[part] = Metadata(Targets(version=version, expires=_end(now, part), targets=targets))
    snapshot_before = before.get("snapshot")
    for role, metadata in roles.items():
        keys.sign(metadata, role)
    all_roles: dict[str, Metadata[Any]] = {
        **{part: before[part] for part in PARTS if part in before},
        **roles,
        "targets": keys.targets(),
    }
    version = snapshot_before.signed.version + 1 if snapshot_before else 1
    meta = {f"{name}.json": _meta(metadata) for name, metadata in all_roles.items()}
    snapshot = Metadata(Snapshot(version=version, expires=_end(now, "snapshot"), meta=meta))
    keys.sign(snapshot, "snapshot")
    timestamp = Metadata(
        Timestamp(
            version=version,
            expires=_end(now, "timestamp"),
            snapshot_meta=_meta(snapshot),
            unrecognized_fields={SIGNED: now.isoformat(timespec="seconds")},
        )
    )
    keys.sign(timestamp, "timestamp")

    added = _copy_files(folder, parts, roles, progress)
    place = folder / METADATA
    for number in keys.root_versions():
        root: Metadata[Root] = read_metadata(keys.folder / f"{number}.root.json", Root)
        write_atomic(place / f"{number}.root.json", [metadata_bytes(root)])
    for name, metadata in all_roles.items():
        write_atomic(place / f"{metadata.signed.version}.{name}.json", [metadata_bytes(metadata)])
    write_atomic(place / f"{version}.snapshot.json", [metadata_bytes(snapshot)])
    write_atomic(place / "timestamp.json", [metadata_bytes(timestamp)])
    _sweep(folder, before, all_roles, version)
    return PublishedRelease(version, {part: all_roles[part].signed.version for part in PARTS}, *added)


class PublishedModel(NamedTuple):
    """What branches are offered."""

    title: str
    """Name and version of the bundle, such as `shop 2`."""
    branches: AllowedBranches


def published_model(folder: Path) -> PublishedModel | None:
    """The model of the release in a folder, its signatures not checked: it is head office's own; None without one."""
    model = read_published(folder).get("model")
    target = model.signed.targets.get(RING_TARGET) if model else None
    if target is None:
        return None
    path = folder / file_name(RING_TARGET, target.hashes["sha256"])
    try:
        info = BundleInfo.model_validate_json(read_text(path))
    except ValidationError:
        raise InputError("not a description of a bundle", where=str(path), hint="release the bundle again") from None
    return PublishedModel(f"{info.name} {info.version}", allowed_branches(target))


def read_published(folder: Path) -> dict[str, Metadata[Any]]:
    """The metadata of the release that lies in a folder, by role; empty when there is none."""
    place = folder / METADATA
    if not (place / "timestamp.json").exists():
        return {}
    timestamp: Metadata[Timestamp] = read_metadata(place / "timestamp.json", Timestamp)
    snapshot: Metadata[Snapshot] = read_metadata(
        place / f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot
    )
    found: dict[str, Metadata[Any]] = {"timestamp": timestamp, "snapshot": snapshot}
    for name, meta in snapshot.signed.meta.items():
        role = name.removesuffix(".json")
        found[role] = read_metadata(place / f"{meta.version}.{name}", Targets)
    return found


def _require_own(folder: Path, keys: KeyFolder) -> None:
    """`UsageError` where the folder holds the release of other keys: branches that know its root would refuse ours."""
    for number in keys.root_versions():
        theirs = folder / METADATA / f"{number}.root.json"
        ours = keys.folder / f"{number}.root.json"
        if theirs.exists() and read_metadata(theirs, Root).signed_bytes != read_metadata(ours, Root).signed_bytes:
            raise UsageError(
                "the release in this folder was signed with other keys",
                where=str(folder),
                hint=f"name the folder of your own release, a new one, or its keys instead of {keys.folder}",
            )


def _must_be_signed(keys: KeyFolder, old: Metadata[Any], part: Part, now: datetime, until: datetime) -> bool:
    """Whether an unchanged part needs a signature: its key was replaced, or its term ends.

    A part whose term ends before the release's own is renewed where its key is at hand, and must be once it has ended.
    """
    owner = keys.targets().signed
    if not owner.get_verification_result(part, old.signed_bytes, old.signatures):
        return True
    return bool(old.signed.expires <= now or (old.signed.expires < until and keys.can_sign(part)))


def _target(target: str, path: Path) -> TargetFile:
    return TargetFile(path.stat().st_size, {"sha256": sha256_file(path)}, target)


def _meta(metadata: Metadata[Any]) -> MetaFile:
    return MetaFile.from_data(metadata.signed.version, metadata_bytes(metadata), ["sha256"])


def _end(now: datetime, role: str) -> datetime:
    return now.replace(microsecond=0) + timedelta(days=DAYS[role])


def _copy_files(
    folder: Path, parts: Mapping[Part, Mapping[str, Path]], roles: Mapping[str, Metadata[Targets]], progress: Progress
) -> tuple[int, int]:
    """Copy what is not there yet under its hash; returns (files, bytes) copied."""
    wanted = {
        folder / file_name(target, info.hashes["sha256"]): (parts[part][target], info)
        for part in parts
        if part in roles
        for target, info in roles[part].signed.targets.items()
    }
    missing = {to: each for to, each in wanted.items() if not to.exists()}
    all_bytes = sum(info.length for _, info in missing.values())
    need_space(folder, all_bytes, "the release")
    done = 0
    for to, (path, info) in missing.items():
        with new_file(to) as partial, open_regular(path) as file, partial.open("xb") as copy:
            while chunk := file.read(1 << 20):
                copy.write(chunk)
                done += len(chunk)
                progress(done, all_bytes)
            copy.flush()
            if sha256_file(partial) != info.hashes["sha256"]:
                raise IntegrityError("the file changed while it was read", where=str(path), hint="release it again")
    return len(missing), all_bytes


def _sweep(folder: Path, before: Mapping[str, Any], after: Mapping[str, Metadata[Targets]], version: int) -> None:
    """Delete files and metadata that neither this release nor the one before names."""
    keep = {
        folder / file_name(target, info.hashes["sha256"])
        for roles in (before, after)
        for metadata in roles.values()
        if isinstance(metadata.signed, Targets)
        for target, info in metadata.signed.targets.items()
    }
    for path in _files_below(folder / TARGETS):
        if path not in keep:
            path.unlink()
    named = {f"{metadata.signed.version}.{name}.json" for roles in (before, after) for name, metadata in roles.items()}
    for path in (folder / METADATA).glob("*.json"):
        role = path.name.removesuffix(".json").rpartition(".")[2]
        if role in (*PARTS, "targets", "snapshot") and path.name not in (*named, f"{version}.snapshot.json"):
            path.unlink()


def _files_below(folder: Path) -> Iterable[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)
