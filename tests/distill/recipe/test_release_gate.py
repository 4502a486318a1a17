"""The gate: every bound that is missed is named, and so is a figure that nobody measured."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from distill.recipe.recipe import Gate
from distill.recipe.release_gate import check_gate, largest_intent_drop, set_bounds
from runtime.bundle.gate_record import missed_bounds
from runtime.errors import ExitCode, GateError

FIGURES: Mapping[str, float | None] = {
    "kl": 0.3, "top1": 0.8, "hit5": 0.9, "perplexity": 3.0, "facts_found": 0.6, "grounded": 0.95,
    "refused_rightly": 0.7, "refused_wrongly": 0.1, "hand_off_recall": 0.8, "chrf": None, "intent_drop": 0.02,
    "leak_rate": 0.05,
}  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "reasons"),
    [
        ({}, []),
        ({"max_kl": 0.3, "min_top1": 0.8, "min_hit5": 0.9}, []),
        ({"max_kl": 0.2}, ["KL is 0.3 (max_kl = 0.2)"]),
        ({"max_leak_rate": 0.0}, ["leak rate is 0.05 (max_leak_rate = 0.0)"]),
        ({"min_hit5": 0.95}, ["hit@5 is 0.9 (min_hit5 = 0.95)"]),
        (
            {"min_facts_found": 0.7, "min_grounded": 1},
            ["facts found is 0.6 (min_facts_found = 0.7)", "grounded is 0.95 (min_grounded = 1.0)"],
        ),
        ({"max_refused_wrongly": 0.05}, ["refused wrongly is 0.1 (max_refused_wrongly = 0.05)"]),
        ({"min_grounded": 0.9, "min_refused_rightly": 0.7, "min_hand_off_recall": 0.8}, []),
        ({"max_perplexity": 2.5}, ["perplexity is 3.0 (max_perplexity = 2.5)"]),
        ({"min_chrf": 0.1}, ["chrF was not measured (min_chrf = 0.1)"]),
    ],
)
def test_gate_names_every_bound_that_is_missed(gate: dict[str, float], reasons: list[str]) -> None:
    assert missed_bounds(set_bounds(Gate(**gate)), FIGURES) == reasons
    if not reasons:
        check_gate(Gate(**gate), FIGURES)
        return
    with pytest.raises(GateError) as error:
        check_gate(Gate(**gate), FIGURES, where="shop.toml: gate")
    assert error.value.what == "the release misses its gate: " + "; ".join(reasons)
    assert error.value.where == "shop.toml: gate"
    assert error.value.exit_code == ExitCode.GATE


def test_gate_counts_figures_that_are_absent_as_missed() -> None:
    assert missed_bounds(set_bounds(Gate(min_facts_found=0.0, min_hit5=0.0)), {"hit5": None}) == [
        "hit@5 was not measured (min_hit5 = 0.0)",
        "facts found was not measured (min_facts_found = 0.0)",
    ]


def test_gate_bounds_are_minimums_and_maximums_of_known_figures() -> None:
    assert {name.split("_", 1)[1] for name in Gate.model_fields} == set(FIGURES)
    assert all(name.startswith(("min_", "max_")) for name in Gate.model_fields)


@pytest.mark.parametrize("gate", [Gate(max_kl=1.0), Gate(min_top1=0.0)])
def test_gate_is_missed_by_a_figure_that_is_not_a_number(gate: Gate) -> None:
    assert len(missed_bounds(set_bounds(gate), {"kl": float("nan"), "top1": float("nan")})) == 1


@pytest.mark.parametrize(
    ("before", "after", "drop"),
    [
        ({"returns": 0.9, "delivery": 0.5}, {"returns": 0.7, "delivery": 0.9}, 0.2),
        ({"returns": 0.9}, {"returns": 0.95}, 0.0),
        ({"returns": 0.9}, {"delivery": 0.1}, None),
        ({}, {"delivery": 0.1}, None),
    ],
)
def test_gate_compares_each_intent_with_the_last_release(
    before: dict[str, float], after: dict[str, float], drop: float | None
) -> None:
    assert largest_intent_drop(before, after) == drop
    gate = Gate(max_intent_drop=0.1)
    missed = missed_bounds(set_bounds(gate), {"intent_drop": drop})
    assert bool(missed) is (drop is None or drop > 0.1)
