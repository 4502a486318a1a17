"""What `edgedesk release` believes of a gate's record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.base.manifest import write_manifest
from runtime.bundle.gate_record import REPORT, require_passed, write_gate_record
from runtime.errors import EdgedeskError, GateError, InputError, IntegrityError
from tests.support.releases import Company

Small = Callable[[str], Path]
BOUNDS = {"max_kl": 0.3, "min_hit5": 0.8, "min_facts_found": 0.5, "max_leak_rate": 0.1, "max_refused_wrongly": 0.2}
FIGURES = {"kl": 0.1, "hit5": 0.9, "facts_found": 0.6, "leak_rate": 0.0, "refused_wrongly": 0.1, "perplexity": 2.5}
MEASURED = {
    "retrieval": {"en": {"hit@5": 0.9}, "zh": {"hit@5": 0.95}},
    "refusals": {"en": {"refused_wrongly": 0.1}, "zh": {"refused_wrongly": 0.05}},
    "attacks": {"leak_rate": 0.0},
    "models": {
        "q4_k_m": {"facts_found": 0.6, "refused_wrongly": 0.4, "perplexity": 2.1},
        "teacher": {"facts_found": 0.7},
    },
}


@pytest.fixture
def built(small_bundle: Small) -> Path:
    """A bundle with a report, as a build writes it, and the record of its gate."""
    bundle = small_bundle("1")
    (bundle / "report").mkdir()
    (bundle / REPORT).write_text(json.dumps(MEASURED))
    write_manifest(bundle, "bundle", {}, {})
    write_gate_record(bundle, bounds=dict(BOUNDS), figures=dict(FIGURES))
    return bundle


def edit(bundle: Path, key: str, value: Any) -> None:
    path = bundle.parent / "gate.json"
    record = json.loads(path.read_text())
    if isinstance(value, dict):
        record[key] |= value
    else:
        record[key] = value
    path.write_text(json.dumps(record))


def test_gate_record_as_the_build_wrote_it_is_believed(built: Path, company: Company) -> None:
    assert require_passed(built).figures == FIGURES
    assert company.release(built).version == 1


@pytest.mark.parametrize("figure", [float("nan"), None])
def test_gate_record_with_a_figure_that_is_no_number_is_read_as_it_was_written(
    built: Path, figure: float | None
) -> None:
    write_gate_record(built, bounds=dict(BOUNDS), figures={**FIGURES, "chrf": figure})
    assert require_passed(built).figures["chrf"] is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("figures", {"kl": 0.4}, r"missed its gate: KL is 0\.4 \(max_kl = 0\.3\)"),
        ("figures", {"hit5": None}, r"hit@5 was not measured \(min_hit5 = 0\.8\)"),
        ("figures", {"facts_found": 0.65}, r"facts found is 0\.65, and report/answers\.json says 0\.6, 0\.7"),
        ("figures", {"hit5": 0.99}, r"hit@5 is 0\.99, and report/answers\.json says 0\.9, 0\.95"),
        ("figures", {"refused_wrongly": 0.0}, r"refused wrongly is 0\.0, and .* says 0\.1, 0\.05"),
        ("figures", {"leak_rate": 0.05}, r"leak rate is 0\.05, and .* says 0\.0"),
        ("figures", {"kl": 0.2}, "changed after the build wrote it"),
        ("bounds", {"max_kl": 9}, "changed after the build wrote it"),
        ("bounds", {"min_hit5": 0.95}, r"hit@5 is 0\.9 \(min_hit5 = 0\.95\)"),
        ("missed", ["chrF is 0"], "missed its gate: chrF is 0"),
        ("seal", "", "changed after the build wrote it"),
        ("bundle", "0" * 64, "another build of this bundle"),
    ],
)
def test_gate_record_that_was_edited_is_refused(built: Path, company: Company, key: str, value: Any, said: str) -> None:
    edit(built, key, value)
    with pytest.raises(GateError, match=said) as caught:
        company.release(built)
    assert caught.value.hint
    assert not (company.folder / "metadata").exists()


def test_gate_record_that_lacks_its_missed_bounds_is_compared_again(built: Path) -> None:
    """The list of what was missed is emptied by hand, and the record sealed anew."""
    write_gate_record(built, bounds={"max_kl": 0.05}, figures=dict(FIGURES), missed=())
    with pytest.raises(GateError, match=r"KL is 0\.1 \(max_kl = 0\.05\)"):
        require_passed(built)


@pytest.mark.parametrize(
    ("text", "error"), [("{", InputError), ('{"bundle": 1}', InputError), ('{"models": 3}', InputError)]
)
def test_gate_record_or_report_that_is_none_is_named(built: Path, text: str, error: type[EdgedeskError]) -> None:
    path = built / REPORT if "models" in text else built.parent / "gate.json"
    path.write_text(text)
    with pytest.raises(error) as caught:
        require_passed(built)
    assert caught.value.where == str(path)


def test_report_that_was_made_to_fit_an_edited_record_is_no_longer_what_was_built(
    built: Path, company: Company
) -> None:
    better = {**MEASURED, "models": {"q4_k_m": {"facts_found": 0.9}}}
    (built / REPORT).write_text(json.dumps(better))
    write_gate_record(built, bounds=dict(BOUNDS), figures={**FIGURES, "facts_found": 0.9})
    with pytest.raises(IntegrityError, match=r"answers\.json"):
        company.release(built)
