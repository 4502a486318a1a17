"""What a branch writes down of the releases it has believed: their metadata, and a mark that it never goes behind.

    EDGEDESK_HOME/trust.json        the newest metadata that was believed, root first
    EDGEDESK_HOME/high-water.json   root, and the version of every role, as high as they were ever seen

Promises: a role never goes back to an earlier version, also after `trust.json` was deleted, unless root has given the
role another key, or the snapshot that counts the roles; each file is written in one durable rename, the mark first.
Checks no signature: `trust` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from tuf.api.metadata import Metadata, Root, Targets, Timestamp
from tuf.ngclient import UpdaterConfig

from runtime.base.files import read_text, write_atomic
from runtime.base.home import HIGH_WATER, TRUST
from runtime.bundle.keys import MAX_METADATA_BYTES
from runtime.bundle.publish import SIGNED
from runtime.bundle.release_format import PARTS
from runtime.errors import EdgedeskError, IntegrityError

LIMITS = UpdaterConfig(
    max_root_rotations=256,
    max_delegations=len(PARTS) + 1,
    root_max_length=512 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=512 * 1024,
    targets_max_length=MAX_METADATA_BYTES,
)
"""How much of a metadata file is read at most, in bytes."""
COUNTED = ("root", "timestamp", "snapshot", "targets", *PARTS)
"""The roles of a release, each with a version that only rises."""
RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9%._~-]+$", max_length=1000)]
"""A role as python-tuf names its file: percent-encoded, so that it is one part of a path."""
Kind = TypeVar("Kind", bound=BaseModel)


class TrustState(BaseModel):
    """`trust.json`: metadata as it was signed, by role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    metadata: dict[RoleName, str] = Field(default_factory=dict)


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


class TrustRecord(NamedTuple):
    """Both files; None for one that is not there."""

    mark: HighWaterMark | None
    state: TrustState | None

    def root(self) -> str | None:
        """The newer root of both: a kill may have come between the two writes."""
        roots = [each.root for each in self if each]
        return max(roots, key=lambda text: Metadata[Root].from_bytes(text.encode()).signed.version) if roots else None


def read_record(home: Path) -> TrustRecord:
    """What a home has believed; `IntegrityError` for a record that is damaged: to forget it would open the branch."""
    return TrustRecord(_read(home / HIGH_WATER, HighWaterMark), _read(home / TRUST, TrustState))


def write_record(home: Path, mark: HighWaterMark, believed: Mapping[str, str]) -> None:
    """Write down what was believed. The mark first: after a kill between the two nothing older is believed."""
    metadata = {role: text for role, text in believed.items() if role != "root"}
    state = TrustState(root=believed["root"], metadata=metadata)
    for name, model in ((HIGH_WATER, mark), (TRUST, state)):
        text = model.model_dump_json(indent=1) + "\n"
        path = home / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text, mode=0o600)


def raise_mark(
    mark: HighWaterMark | None, believed: Mapping[str, str], roles: Collection[str], where: str
) -> HighWaterMark:
    """The mark with the versions of these roles, which were just verified; the other roles stay where they were.

    `believed` has the metadata of every role, root among them. `IntegrityError` when a role lies behind the mark.
    """
    parsed: dict[str, Metadata[Any]] = {
        role: Metadata.from_bytes(believed[role].encode()) for role in roles if role in COUNTED
    }
    root: Root = Metadata[Root].from_bytes(believed["root"].encode()).signed
    targets: Targets | None = (
        Metadata[Targets].from_bytes(believed["targets"].encode()).signed if "targets" in believed else None
    )
    keys = {role: _keys_of(targets if role in PARTS else root, role) for role in parsed}
    if mark:
        # TUF's recovery of targets: a new snapshot key begins the count of all that the snapshot names anew.
        counts_anew = mark.keys.get("snapshot") != _keys_of(root, "snapshot")
        for role, each in parsed.items():
            named_by_snapshot = role == "targets" or role in PARTS
            same_keys = mark.keys.get(role) == keys[role] and not (named_by_snapshot and counts_anew)
            if (same_keys or role == "root") and each.signed.version < mark.versions.get(role, 0):
                raise IntegrityError(
                    f"an earlier release: '{role}' has version {each.signed.version}, "
                    f"this branch has seen {mark.versions[role]}",
                    where=where,
                    hint="take the newest release; to go back to older content head office releases it anew",
                )
    versions = {role: each.signed.version for role, each in parsed.items()}
    signed = signed_at(parsed["timestamp"].signed) if "timestamp" in parsed else None
    return HighWaterMark(
        root=believed["root"],
        versions=(mark.versions if mark else {}) | versions,
        keys=(mark.keys if mark else {}) | keys,
        signed=max((time for time in (signed, mark.signed if mark else None) if time), default=None),
    )


def signed_at(timestamp: Timestamp) -> datetime | None:
    """When a timestamp was signed; None for one that does not say it."""
    try:
        found = datetime.fromisoformat(str(timestamp.unrecognized_fields.get(SIGNED)))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _keys_of(owner: Root | Targets | None, role: str) -> tuple[str, ...]:
    assert owner is not None, "a part is believed after the targets that name its keys"
    return tuple(sorted(owner.get_delegated_role(role).keyids))


def _read(path: Path, kind: type[Kind]) -> Kind | None:
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
