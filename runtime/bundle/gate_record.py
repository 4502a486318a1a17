"""Whether a build passed its gate, written beside its bundle: `edgedesk release` signs no bundle without it.

    WORK/bundle/    WORK/gate.json    the bounds, the figures, what was missed, and which bundle they are of

Promises: a record counts for the very files it was written for, as long as it says what was written; its figures reach
its bounds, and are those of the report that lies in the bundle, under the bundle's hashes. Whoever may write the work
folder and makes manifest, report and record anew is not found out (docs/threat-model.md). Knows nothing of recipes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.base.files import read_text, write_atomic
from runtime.base.manifest import Manifest, digest, read_manifest
from runtime.base.validation import first_problem
from runtime.errors import GateError, InputError, MissingError

FILE_NAME = "gate.json"
REPORT = "report/answers.json"
"""Of the bundle: what the build measured of answers, retrieval, refusals and attacks."""
_WORDS = {"kl": "KL", "top1": "top-1", "hit5": "hit@5", "chrf": "chrF"}
_AGAIN = "edgedesk build RECIPE runs the gate; stages that are up to date are not run again"


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
    seal: str = ""
    """Digest of everything above, so that a changed record is told from a written one; it keeps out no forger."""


def missed_bounds(bounds: Mapping[str, float], figures: Mapping[str, float | None]) -> list[str]:
    """A sentence for every bound that is missed, in the order of the bounds; pure.

    A bound is `min_` or `max_` and the name of a figure. A figure that is demanded and was not measured counts as
    missed, and so does one that is not a number.
    """
    reasons = []
    for name, bound in bounds.items():
        side, key = name.split("_", 1)
        value, word = figures.get(key), _WORDS.get(key, key.replace("_", " "))
        if value is None:
            reasons.append(f"{word} was not measured ({name} = {bound})")
        # Written so that NaN, which compares false with everything, misses both kinds of bound.
        elif (side == "max" and not value <= bound) or (side == "min" and not value >= bound):
            reasons.append(f"{word} is {value} ({name} = {bound})")
    return reasons


def files_digest(manifest: Manifest) -> str:
    """What identifies a bundle: its files, whatever else its manifest says."""
    return digest(sorted((entry.path, entry.sha256) for entry in manifest.files))


def write_gate_record(
    bundle: Path, *, bounds: dict[str, float], figures: dict[str, float | None], missed: tuple[str, ...] = ()
) -> GateRecord:
    """Write what the gate said of a finished bundle."""
    record = GateRecord(bundle=files_digest(read_manifest(bundle)), bounds=bounds, figures=figures, missed=missed)
    record = record.model_copy(update={"seal": _seal(record)})
    write_atomic(bundle.parent / FILE_NAME, record.model_dump_json(indent=1) + "\n")
    return record


def require_passed(bundle: Path) -> GateRecord:
    """The record of a bundle that passed its gate; `GateError` for one that did not, or that was never asked.

    Also for a record that was changed since it was written. `MissingError` where there is no bundle.
    """
    if not bundle.is_dir():
        raise MissingError("no such bundle folder", where=str(bundle), hint="check the path")
    path = bundle.parent / FILE_NAME
    if not path.is_file():
        raise GateError("the bundle has not passed a gate", where=str(bundle), hint=_AGAIN)
    try:
        record = GateRecord.model_validate_json(read_text(path))
    except ValidationError as error:
        raise InputError(first_problem(error, "key", GateRecord).sentence, where=str(path), hint=_AGAIN) from None
    if record.bundle != files_digest(read_manifest(bundle)):
        raise GateError("the gate was passed by another build of this bundle", where=str(path), hint=_AGAIN)
    if not all(name.startswith(("min_", "max_")) for name in record.bounds):
        raise InputError("a bound is called min_… or max_…", where=str(path), hint=_AGAIN)
    # Compared here again, and not believed: a figure that was corrected by hand reaches no bound by it.
    if missed := missed_bounds(record.bounds, record.figures) or list(record.missed):
        raise GateError("the bundle missed its gate: " + "; ".join(missed), where=str(path), hint="build better")
    if other := next(_not_as_reported(bundle, record), None):
        raise GateError(f"the gate's record is not what the build measured: {other}", where=str(path), hint=_AGAIN)
    if record.seal != _seal(record):
        raise GateError("the gate's record was changed after the build wrote it", where=str(path), hint=_AGAIN)
    return record


def _seal(record: GateRecord) -> str:
    # As it is written and read back: a figure that is not a number is null then.
    return digest(json.loads(record.model_dump_json(exclude={"seal"})))


class _Report(BaseModel):
    """What of the bundle's report a gate's figures come from; each by language, or by file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    retrieval: dict[str, dict[str, Any]] = {}
    refusals: dict[str, dict[str, Any]] = {}
    attacks: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}


def _not_as_reported(bundle: Path, record: GateRecord) -> Iterator[str]:
    """What the record says otherwise than the bundle's report, a sentence each; a bundle may have none.

    Which languages and which file count is the recipe's, so a figure is right when it is one of those reported.
    """
    path = bundle / REPORT
    if not path.is_file():
        return
    try:
        report = _Report.model_validate_json(read_text(path))
    except ValidationError as error:
        raise InputError(first_problem(error, "key", _Report).sentence, where=str(path), hint=_AGAIN) from None
    refused = {
        name: [row.get(name) for row in report.refusals.values()] for name in ("refused_wrongly", "refused_rightly")
    }
    reported = {
        **{name: [row[name] for row in report.models.values() if name in row] for name in record.figures},
        **{name: values for name, values in refused.items() if any(value is not None for value in values)},
        "hit5": [row.get("hit@5") for row in report.retrieval.values()],
        "leak_rate": [report.attacks["leak_rate"]] if "leak_rate" in report.attacks else [],
    }
    for name, value in record.figures.items():
        known = reported[name]
        if known and value is not None and value not in known and name not in _MEASURED_ELSEWHERE:
            told = ", ".join(dict.fromkeys(map(str, known)))
            yield f"{_WORDS.get(name, name.replace('_', ' '))} is {value}, and {REPORT} says {told}"


_MEASURED_ELSEWHERE = frozenset({"perplexity"})
"""A report has one of few answers; the gate's is of all replies that agents wrote."""
