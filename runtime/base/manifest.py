"""Folders that carry a manifest: what each file's SHA-256 is and what the folder was made from.

Stages pass such folders, never objects; a bundle is one too. `stage` runs a step once and takes its
folder from the last run while nothing that went in has changed. Promises: a folder is whole or absent.

    {"kind": …, "files": [{"path": …, "sha256": …, "bytes": …}, …],
     "digest": "SHA-256 of every byte before this line"}

The last line guards the manifest itself: no parser sees it before its digest is compared, and one flipped bit anywhere
in it is found. Who made the folder is not proven by that: only a signature can.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import MAX_TEXT_BYTES, open_below, sha256_file, write_atomic
from runtime.errors import InputError, IntegrityError, MissingError

MANIFEST = "manifest.json"
MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
"""What Linux allows between two slashes."""
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class FileEntry(BaseModel):
    """One file of a folder, by its path below it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(BaseModel):
    """What a folder is, what went in, what came out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    """`records`, `capture`, `checkpoint`, `gguf`, `onnx`, `bundle` …"""
    format: int = 1
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Hashes and settings the folder was made from; a change makes it stale."""
    figures: dict[str, Any] = Field(default_factory=dict)
    """What was measured while making it, `seconds` among them."""
    files: tuple[FileEntry, ...] = ()


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    """Every file below a folder but the manifest itself, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return tuple(
        FileEntry(path=path.relative_to(folder).as_posix(), sha256=sha256_file(path), bytes=path.stat().st_size)
        for path in paths
    )


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest; `MissingError` without one, `IntegrityError` when it is not as it was written."""
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingError("no manifest.json, so not a finished folder", where=str(folder), hint="build it again")
    changed = IntegrityError("the manifest is not what was built", where=str(path), hint="copy the folder again")
    try:
        with open_below(folder, MANIFEST) as file:
            data = file.read(MAX_TEXT_BYTES)
    except OSError:
        raise changed from None
    body = data[: -len(_seal(b""))]
    if data != body + _seal(body):
        raise changed
    try:
        return Manifest.model_validate_json(body + b"\n}")
    except ValidationError as error:
        raise IntegrityError("the manifest is malformed", where=str(path), hint=str(error).splitlines()[0]) from None


def manifest_text(manifest: Manifest) -> str:
    """`manifest.json`, sealed by its digest."""
    body = manifest.model_dump_json(indent=1).removesuffix("\n}").encode()
    return (body + _seal(body)).decode()


def _seal(body: bytes) -> bytes:
    """The end of a manifest that begins with `body`; as long for every body."""
    return f',\n "digest": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def write_manifest(folder: Path, kind: str, inputs: Mapping[str, Any], figures: Mapping[str, Any]) -> Manifest:
    """Hash what lies in the folder and write its manifest."""
    manifest = Manifest(kind=kind, inputs=dict(inputs), figures=dict(figures), files=list_files(folder))
    write_atomic(folder / MANIFEST, manifest_text(manifest))
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """`IntegrityError` naming the first file that is missing, changed, extra, or named to lead outside the folder."""
    check_names(folder, manifest)
    for entry in manifest.files:
        for _ in read_entry(folder, entry):
            pass
    named = {entry.path for entry in manifest.files} | {MANIFEST}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in named and (path.is_symlink() or not path.is_dir()):
            raise IntegrityError(f"'{name}' is not in the manifest", where=str(folder), hint="copy the folder again")


def read_entry(folder: Path, entry: FileEntry) -> Iterator[bytes]:
    """A file's bytes in pieces, no more than it is said to have; `IntegrityError` at the end when they are others.

    What has been read before that is not to be trusted: parse nothing until the last piece came.
    """
    wrong = IntegrityError(f"'{entry.path}' is not what was built", where=str(folder), hint="copy the folder again")
    try:
        file = open_below(folder, entry.path)
    except OSError:
        # A link, a device, a pipe, or a folder on the way that is one: none is a file that was built.
        missing = f"'{entry.path}' is missing"
        raise IntegrityError(missing, where=str(folder), hint="copy the folder again") from None
    with file:
        if os.fstat(file.fileno()).st_size != entry.bytes:
            raise wrong
        sha256, size = hashlib.sha256(), 0
        while chunk := file.read(1 << 20):
            size += len(chunk)
            if size > entry.bytes:
                raise wrong
            sha256.update(chunk)
            yield chunk
    if size != entry.bytes or sha256.hexdigest() != entry.sha256:
        raise wrong


def read_verified(folder: Path, manifest: Manifest, name: str) -> bytes:
    """A small file whole, its hash compared first; `MissingError` where the manifest has no such file."""
    for entry in manifest.files:
        if entry.path == name:
            if entry.bytes > MAX_TEXT_BYTES:
                raise InputError(f"'{name}' has {entry.bytes:,} bytes", where=str(folder), hint="build it again")
            return b"".join(read_entry(folder, entry))
    raise MissingError(f"{name} is not there", where=str(folder), hint="build it again")


def check_names(folder: Path, manifest: Manifest) -> None:
    """`IntegrityError` when a name leads outside the folder, or two would be one file on some disk.

    Disks differ in whether case counts, and whether é is one character or two.
    """
    seen: set[str] = set()
    for entry in manifest.files:
        if not safe_path(entry.path):
            shown = entry.path.encode("unicode_escape").decode("ascii")[:200]
            raise IntegrityError(f"'{shown}' leads outside the folder", where=str(folder), hint="do not use it")
        same = unicodedata.normalize("NFKC", entry.path).casefold()
        if same in seen or same == MANIFEST:
            raise IntegrityError(f"'{entry.path}' is named twice", where=str(folder), hint="do not use it")
        seen.add(same)


def safe_path(name: str) -> bool:
    """Whether a name, in its one normal spelling, stays below the folder it is relative to and can be shown."""
    parts = name.split("/")
    if set(parts) & {"", ".", ".."} or "\\" in name:
        return False
    # Control characters, line separators and lone surrogates; and what turns the direction of a line around.
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _TURNS for char in name):
        return False
    return len(name.encode()) <= MAX_NAME_BYTES and all(len(part.encode()) <= MAX_PART_BYTES for part in parts)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: a key for what went into a stage."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
