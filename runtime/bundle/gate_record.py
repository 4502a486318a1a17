"""Whether a build passed its gate, written beside its bundle: `edgedesk release` signs no bundle without it.

    WORK/bundle/    WORK/gate.json    the bounds, the figures, what was missed, and which bundle they are of

Promises: a record counts for the very files it was written for. Knows nothing of recipes.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.base.files import read_text, write_atomic
from runtime.base.manifest import Manifest, digest, read_manifest
from runtime.base.validation import first_problem
from runtime.errors import GateError, InputError, MissingError

FILE_NAME = "gate.json"


class GateRecord(BaseModel):
    """What a release was asked for and what it reached."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str
    """Digest of the bundle's files."""
    bounds: dict[str, float]
    """As in the recipe: `max_kl`, `min_hit5` …; empty when the recipe asks for nothing."""
    figures: dict[str, float | None]
    missed: tuple[str, ...] = ()
    """A sentence for every bound that is missed."""


def files_digest(manifest: Manifest) -> str:
    """What identifies a bundle: its files, whatever else its manifest says."""
    return digest(sorted((entry.path, entry.sha256) for entry in manifest.files))


def write_gate_record(
    bundle: Path, *, bounds: dict[str, float], figures: dict[str, float | None], missed: tuple[str, ...] = ()
) -> GateRecord:
    """Write what the gate said of a finished bundle."""
    record = GateRecord(bundle=files_digest(read_manifest(bundle)), bounds=bounds, figures=figures, missed=missed)
    write_atomic(bundle.parent / FILE_NAME, record.model_dump_json(indent=1) + "\n")
    return record


def require_passed(bundle: Path) -> GateRecord:
    """The record of a bundle that passed its gate; `GateError` for one that did not, or that was never asked.

    `MissingError` where there is no bundle.
    """
    if not bundle.is_dir():
        raise MissingError("no such bundle folder", where=str(bundle), hint="check the path")
    path = bundle.parent / FILE_NAME
    again = "edgedesk build RECIPE runs the gate; stages that are up to date are not run again"
    if not path.is_file():
        raise GateError("the bundle has not passed a gate", where=str(bundle), hint=again)
    try:
        record = GateRecord.model_validate_json(read_text(path))
    except ValidationError as error:
        raise InputError(first_problem(error, "key", GateRecord).sentence, where=str(path), hint=again) from None
    if record.bundle != files_digest(read_manifest(bundle)):
        raise GateError("the gate was passed by another build of this bundle", where=str(path), hint=again)
    if record.missed:
        raise GateError("the bundle missed its gate: " + "; ".join(record.missed), where=str(path), hint="build better")
    return record
