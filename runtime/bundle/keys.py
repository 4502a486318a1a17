"""The keys that sign releases, a folder of head office: private keys, and the public record of who may sign what.

    KEYS/  1.root.json 2.root.json …   every version of the roles and their keys, signed by two of three root keys
           targets.json                which key signs which part of a release, signed by the targets key
           root-1a2b3c4d.pem …         private keys (PKCS#8, Ed25519); root keys belong on three sticks, locked away
           root-1a2b3c4d.token.json …  where a key lies that a token holds (`token_keys`)

Promises: a private key is readable by its owner alone from its first byte on; a change of keys is signed by as many
root keys as the roles demand, or is written as a draft that lacks some, and never takes effect half-signed.
Knows nothing of what is signed with them. Head office only.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, Key, Signer
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from runtime.base.files import open_regular, private_folder, write_atomic
from runtime.bundle.release_format import PARTS, patterns
from runtime.bundle.token_keys import SUFFIX, Pin, load_token_key
from runtime.errors import InputError, MissingError, UsageError

ROOT_KEYS = 3
ROOT_THRESHOLD = 2
TOP_ROLES = ("root", "targets", "snapshot", "timestamp")
ROLES = (*TOP_ROLES, *PARTS)
DAYS = {"root": 3650, "targets": 730, "snapshot": 120, "timestamp": 120, "model": 730, "articles": 730, "app": 730}
"""How long each role's metadata is good for. Timestamp and snapshot bound how old a release a branch may be given: a
stick may travel for weeks, so they last a season."""
TARGETS_FILE = "targets.json"
DRAFT = "draft.root.json"
MAX_KEY_BYTES = 64 * 1024
"""A key's file has some hundred bytes; no more is read of what `--key` names."""
MAX_METADATA_BYTES = 64 << 20
"""As much as a branch reads of one: it names 200,000 articles."""
Passphrase = Callable[[], bytes | None]
"""Asked for once an encrypted key is met; None when there is none."""
MakeKey = Callable[[Path, str], Signer]
"""Makes a key for a role and writes what leads to its private half into a folder."""


class KeyFolder:
    """The keys of one company."""

    def __init__(
        self,
        folder: Path,
        *,
        passphrase: Passphrase = lambda: None,
        more: Iterable[Path] = (),
        pin: Pin = lambda: None,
        module: Path | None = None,
    ) -> None:
        """`more`: private keys that lie elsewhere, such as on a stick; `pin`, `module`: for keys that tokens hold."""
        self.folder = folder
        self._passphrase = passphrase
        self._more = tuple(more)
        self._pin, self._module = pin, module
        self._signers: dict[str, Signer] | None = None
        if not folder.is_dir():
            raise MissingError("no such folder of keys", where=str(folder), hint="edgedesk keys init FOLDER")

    def root_versions(self) -> list[int]:
        """Every version of root there is, oldest first; `MissingError` without one."""
        names = (re.fullmatch(r"([1-9]\d*)\.root\.json", path.name) for path in self.folder.iterdir())
        if found := sorted(int(name[1]) for name in names if name):
            return found
        raise MissingError("no root.json among the keys", where=str(self.folder), hint="edgedesk keys init FOLDER")

    def root(self) -> Metadata[Root]:
        """The newest root."""
        return read_metadata(self.folder / f"{self.root_versions()[-1]}.root.json", Root)

    def targets(self) -> Metadata[Targets]:
        """Who signs which part."""
        return read_metadata(self.folder / TARGETS_FILE, Targets)

    def keys_of(self, role: str) -> list[Key]:
        """The public keys of a role; `UsageError` for one that does not exist."""
        if role not in ROLES:
            raise UsageError(f"no role '{role}'", hint=f"one of {', '.join(ROLES)}")
        owner = self.root().signed if role in TOP_ROLES else self.targets().signed
        return [owner.get_key(keyid) for keyid in owner.get_delegated_role(role).keyids]

    def signers(self) -> Mapping[str, Signer]:
        """Every private key at hand, by its key id: files, and keys of tokens that are plugged in."""
        if self._signers is None:
            paths = [*sorted(self.folder.glob("*.pem")), *sorted(self.folder.glob(f"*{SUFFIX}")), *self._more]
            found = (signer for path in paths if (signer := self._load(path)) is not None)
            self._signers = {signer.public_key.keyid: signer for signer in found}
        return self._signers

    def sign(self, metadata: Metadata[Any], role: str) -> None:
        """Sign with every key of the role at hand; `MissingError` when they are fewer than it demands."""
        owner = self.root().signed if role in TOP_ROLES else self.targets().signed
        wanted = owner.get_delegated_role(role)
        self._require_key(role, owner)
        metadata.signatures.clear()
        for keyid in wanted.keyids:
            if keyid in self.signers():
                metadata.sign(self.signers()[keyid], append=True)

    def can_sign(self, role: str) -> bool:
        """Whether as many private keys of the role are at hand as it demands."""
        try:
            self._require_key(role, self.root().signed if role in TOP_ROLES else self.targets().signed)
        except MissingError:
            return False
        return True

    def renew_targets(self, now: datetime, needed_until: datetime) -> None:
        """Sign the list of who signs which part for another term, where it would end before `needed_until`.

        `MissingError` where it has ended and its key is not at hand; before that it may wait for a day with the key.
        """
        targets = self.targets()
        if targets.signed.expires < needed_until and (targets.signed.expires <= now or self.can_sign("targets")):
            self._write_targets(targets, now)

    def rotate(self, role: str, now: datetime, keyid: str = "", make: MakeKey | None = None) -> Change:
        """Give a role a new key in place of its old one; of root's keys, in place of the one whose id begins so.

        `make` makes it, by default as a file.
        """
        old = self._one_key(role, keyid)
        self._require_changeable(role)
        signer = (make or key_files(self._passphrase))(self.folder, role)
        self._signers = {**self.signers(), signer.public_key.keyid: signer}

        def change(signed: Root | Targets) -> None:
            signed.add_key(signer.public_key, role)
            signed.revoke_key(old.keyid, role)

        return self._change(role, now, change)

    def revoke(self, keyid: str, now: datetime) -> Change:
        """Take a key away from its role; `UsageError` where the role would be left with too few."""
        role = next((role for role in ROLES if any(key.keyid.startswith(keyid) for key in self.keys_of(role))), None)
        if role is None or not keyid:
            raise UsageError(f"no key whose id begins with '{keyid}'", hint="edgedesk keys show lists them")
        old = self._one_key(role, keyid)
        owner = self.root().signed if role in TOP_ROLES else self.targets().signed
        if len(self.keys_of(role)) <= owner.get_delegated_role(role).threshold:
            raise UsageError(
                f"the role '{role}' would be left with too few keys", hint=f"replace it: edgedesk keys rotate {role}"
            )
        return self._change(role, now, lambda signed: signed.revoke_key(old.keyid, role))

    def sign_draft(self, now: datetime) -> Change:
        """Add the signatures of the root keys at hand to a draft; with enough of them it takes effect."""
        draft = self.folder / DRAFT
        if not draft.exists():
            raise MissingError("no change of keys waits for signatures", where=str(draft), hint="edgedesk keys rotate")
        return self._finish_root(read_metadata(draft, Root), now)

    def _change(self, role: str, now: datetime, change: Callable[[Any], None]) -> Change:
        if role not in TOP_ROLES:
            targets = self.targets()
            change(targets.signed)
            self._write_targets(targets, now)
            return Change(role, targets.signed.version, 0)
        self._require_changeable(role)
        root = copy.deepcopy(self.root())
        change(root.signed)
        root.signed.version += 1
        root.signed.expires = _end(now, "root")
        root.signatures.clear()
        done = self._finish_root(root, now)
        return Change(role, done.version, done.missing)

    def _require_changeable(self, role: str) -> None:
        """Before a new key is written: a change that cannot be made leaves no private key behind."""
        draft = self.folder / DRAFT
        if role not in TOP_ROLES:
            self._require_key("targets", self.root().signed)
        elif draft.exists():
            raise UsageError(
                "another change of keys waits for signatures",
                where=str(draft),
                hint="edgedesk keys sign, or delete the draft",
            )

    def _require_key(self, role: str, owner: Root | Targets) -> None:
        """`MissingError` naming the role when fewer of its private keys are at hand than it demands."""
        wanted = owner.get_delegated_role(role)
        if sum(keyid in self.signers() for keyid in wanted.keyids) < wanted.threshold:
            raise MissingError(
                f"the private key of the role '{role}' is not among the keys",
                where=str(self.folder),
                hint=f"name its file with --key, or plug its token in; its id begins with {wanted.keyids[0][:8]}",
            )

    def _finish_root(self, root: Metadata[Root], now: datetime) -> Change:
        old = self.root()
        for keyid in dict.fromkeys((*old.signed.roles["root"].keyids, *root.signed.roles["root"].keyids)):
            if keyid in self.signers():
                root.sign(self.signers()[keyid], append=True)
        found = root.signed.get_root_verification_result(old.signed, root.signed_bytes, root.signatures)
        draft = self.folder / DRAFT
        if not found:
            _write(draft, root)
            return Change("root", root.signed.version, max(found.first.missing, found.second.missing))
        new_targets_key = root.signed.roles["targets"].keyids != old.signed.roles["targets"].keyids
        if new_targets_key:
            # Before the root takes effect: without it nothing that was signed for the parts would count any more.
            _write(draft, root)
            self._require_key("targets", root.signed)
        _write(self.folder / f"{root.signed.version}.root.json", root)
        draft.unlink(missing_ok=True)
        # A new targets key signs anew what the old one had signed.
        if new_targets_key:
            self._write_targets(self.targets(), now)
        return Change("root", root.signed.version, 0)

    def _write_targets(self, targets: Metadata[Targets], now: datetime) -> None:
        targets.signed.version += 1
        targets.signed.expires = _end(now, "targets")
        self.sign(targets, "targets")
        _write(self.folder / TARGETS_FILE, targets)

    def _one_key(self, role: str, keyid: str) -> Key:
        found = [key for key in self.keys_of(role) if key.keyid.startswith(keyid)]
        if len(found) != 1:
            which = ", ".join(key.keyid[:8] for key in found) or "none"
            raise UsageError(
                f"which key of '{role}': {len(found)} fit", hint=f"name one by the beginning of its id: {which}"
            )
        return found[0]

    def _load(self, path: Path) -> Signer | None:
        if path.name.endswith(SUFFIX):
            held = load_token_key(path, self._pin, self._module)
            return held if held.at_hand() else None
        unusable = InputError("not an Ed25519 key in PEM", where=str(path), hint="edgedesk keys init makes such files")
        with open_regular(path) as file:
            data = file.read(MAX_KEY_BYTES + 1)
        if len(data) > MAX_KEY_BYTES:
            raise unusable
        try:
            key = load_pem_private_key(data, self._passphrase() if b"ENCRYPTED" in data[:100] else None)
        except TypeError:
            raise UsageError("the key has a passphrase", where=str(path), hint="set EDGEDESK_KEY_PASSPHRASE") from None
        except ValueError:
            if b"ENCRYPTED" in data[:100]:
                raise UsageError("the passphrase is wrong", where=str(path), hint="EDGEDESK_KEY_PASSPHRASE") from None
            raise unusable from None
        if not isinstance(key, Ed25519PrivateKey):
            raise unusable
        return CryptoSigner(key)


class Change:
    """A change of keys: the role, its metadata's new version, and how many signatures it still lacks."""

    def __init__(self, role: str, version: int, missing: int) -> None:
        self.role = role
        self.version = version
        self.missing = missing


def key_files(passphrase: Passphrase = lambda: None) -> MakeKey:
    """Makes keys as files, encrypted where there is a passphrase."""

    def make(folder: Path, role: str) -> CryptoSigner:
        signer = CryptoSigner.generate_ed25519()
        _write_private(folder / f"{role}-{signer.public_key.keyid[:8]}.pem", signer, passphrase())
        return signer

    return make


def make_keys(
    folder: Path,
    now: datetime,
    *,
    passphrase: Passphrase = lambda: None,
    make: MakeKey | None = None,
    pin: Pin = lambda: None,
) -> KeyFolder:
    """A new company's keys: three for root of which two must sign, one for every other role.

    `make` makes each of them, by default as a file. `UsageError` when the folder holds keys already: overwriting them
    would lock every branch out.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError("the folder is not empty", where=str(folder), hint="choose a new folder for the keys")
    private_folder(folder)
    make = make or key_files(passphrase)
    signers = {role: [make(folder, role) for _ in range(ROOT_KEYS if role == "root" else 1)] for role in ROLES}
    root = Metadata(Root(version=1, expires=_end(now, "root"), consistent_snapshot=True))
    for role in TOP_ROLES:
        for signer in signers[role]:
            root.signed.add_key(signer.public_key, role)
    root.signed.roles["root"].threshold = ROOT_THRESHOLD
    for signer in signers["root"]:
        root.sign(signer, append=True)
    roles: dict[str, DelegatedRole] = {
        part: DelegatedRole(part, [signers[part][0].public_key.keyid], 1, terminating=True, paths=patterns(part))
        for part in PARTS
    }
    keys: dict[str, Key] = {signer.public_key.keyid: signer.public_key for part in PARTS for signer in signers[part]}
    targets = Metadata(Targets(version=1, expires=_end(now, "targets"), delegations=Delegations(keys, roles)))
    targets.sign(signers["targets"][0])
    _write(folder / TARGETS_FILE, targets)
    # Last: a folder without a root is one that was not finished.
    _write(folder / "1.root.json", root)
    return KeyFolder(folder, passphrase=passphrase, pin=pin)


def read_metadata(path: Path, kind: type[Any]) -> Metadata[Any]:
    """A metadata file of ours, its signatures not checked; `MissingError` or `InputError` naming it."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_METADATA_BYTES + 1)
    except MissingError:
        raise MissingError("no such file", where=str(path), hint="take the whole folder of keys") from None
    if len(data) > MAX_METADATA_BYTES:
        raise InputError(
            f"not TUF metadata: longer than {MAX_METADATA_BYTES >> 20} MiB",
            where=str(path),
            hint="take this file from the folder of keys or the release again",
        )
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise InputError("not TUF metadata", where=str(path), hint=str(error).splitlines()[0][:200]) from None
    if not isinstance(metadata.signed, kind):
        raise InputError(f"metadata of another kind ({metadata.signed.type})", where=str(path), hint="check the path")
    return metadata


def metadata_bytes(metadata: Metadata[Any]) -> bytes:
    """Metadata as it is written and hashed."""
    return JSONSerializer(compact=False).serialize(metadata)


def _end(now: datetime, role: str) -> datetime:
    return now.replace(microsecond=0) + timedelta(days=DAYS[role])


def _write(path: Path, metadata: Metadata[Any]) -> None:
    write_atomic(path, [metadata_bytes(metadata)])


def _write_private(path: Path, signer: CryptoSigner, passphrase: bytes | None) -> None:
    data = signer.private_bytes
    if passphrase:
        key = load_pem_private_key(data, None)
        data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
