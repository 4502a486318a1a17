"""Folders that carry a manifest: what each file's SHA-256 is and what the folder was made from.

Stages pass such folders, never objects (DESIGN §1); a bundle is one too. `stage` runs a step once and takes its
folder from the last run while nothing that went in has changed. Promises: a folder is whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import read_text, sha256_file, write_atomic
from runtime.errors import InputError, IntegrityError, MissingError

MANIFEST = "manifest.json"


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
    """The folder's manifest; `MissingError` without one, `IntegrityError` when it is malformed."""
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingError("no manifest.json, so not a finished folder", where=str(folder), hint="build it again")
    try:
        return Manifest.model_validate_json(read_text(path))
    except (ValidationError, InputError) as error:
        raise IntegrityError("the manifest is malformed", where=str(path), hint=str(error).splitlines()[0]) from None


def write_manifest(folder: Path, kind: str, inputs: Mapping[str, Any], figures: Mapping[str, Any]) -> Manifest:
    """Hash what lies in the folder and write its manifest."""
    manifest = Manifest(kind=kind, inputs=dict(inputs), figures=dict(figures), files=list_files(folder))
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """`IntegrityError` naming the first file that is missing, changed, extra, or named to lead outside the folder."""
    check_names(folder, manifest)
    for entry in manifest.files:
        path = folder / PurePosixPath(entry.path)
        if path.is_symlink() or not path.is_file():
            raise IntegrityError(f"'{entry.path}' is missing", where=str(folder), hint="copy the folder again")
        if path.stat().st_size != entry.bytes or sha256_file(path) != entry.sha256:
            raise IntegrityError(
                f"'{entry.path}' is not what was built", where=str(folder), hint="copy the folder again"
            )
    named = {entry.path for entry in manifest.files} | {MANIFEST}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in named and (path.is_symlink() or not path.is_dir()):
            raise IntegrityError(f"'{name}' is not in the manifest", where=str(folder), hint="copy the folder again")


def check_names(folder: Path, manifest: Manifest) -> None:
    """`IntegrityError` when a name leads outside the folder, or two would be one file where case does not count."""
    seen: set[str] = set()
    for entry in manifest.files:
        if not safe_path(entry.path):
            raise IntegrityError(f"'{entry.path}' leads outside the folder", where=str(folder), hint="do not use it")
        if entry.path.casefold() in seen or entry.path == MANIFEST:
            raise IntegrityError(f"'{entry.path}' is named twice", where=str(folder), hint="do not use it")
        seen.add(entry.path.casefold())


def safe_path(name: str) -> bool:
    """Whether a name, in its one normal spelling, stays below the folder it is relative to."""
    parts = name.split("/")
    return not set(parts) & {"", ".", ".."} and not re.search(r"[\x00-\x1f\x7f\\]", name)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: a key for what went into a stage."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
