"""The gate: every figure that is demanded and not reached is named, and so is one that nobody measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill.recipe.recipe import Data, Gate, Recipe
from distill.recipe.release_gate import check_gate, gated_figures, missed_bounds
from runtime.errors import ExitCode, GateError

FIGURES: dict[str, Any] = {
    "student": {
        "distilled": {"kl": 0.1, "top1": 0.9, "tokens": 100},
        "tuned": {"kl": 0.3, "top1": 0.8, "tokens": 100},
    },
    "retrieval": {"en": {"hit@5": 0.9}, "zh": {"hit@5": 0.1}},
    "quantized": [{"format": "f32", "perplexity": 2.0}, {"format": "q4_k_m", "perplexity": 3.0}],
    "answers": {
        "teacher": {"facts_found": 0.9},
        "q4_k_m": {
            "facts_found": 0.6, "grounded": 0.95, "refused_rightly": 0.7, "refused_wrongly": 0.1,
            "hand_off_recall": 0.8, "chrf": None,
        },
    },
}  # fmt: skip


def recipe(**gate: float) -> Recipe:
    data = Data(house_rules={"en": Path("rules.md")}, policy={"en": Path("policy.toml")})
    return Recipe(name="shop", data=data, gate=Gate(**gate))


@pytest.mark.parametrize(
    ("gate", "reasons"),
    [
        ({}, []),
        ({"max_kl": 0.3, "min_top1": 0.8, "min_hit5": 0.9}, []),
        ({"max_kl": 0.2}, ["KL 0.3 is over 0.2"]),
        ({"min_hit5": 0.95}, ["hit@5 0.9 is under 0.95"]),
        ({"min_facts_found": 0.7, "min_grounded": 1}, ["facts found 0.6 is under 0.7", "grounded 0.95 is under 1.0"]),
        ({"max_refused_wrongly": 0.05}, ["refused wrongly 0.1 is over 0.05"]),
        ({"min_grounded": 0.9, "min_refused_rightly": 0.7, "min_hand_off_recall": 0.8}, []),
        ({"max_perplexity": 2.5}, ["perplexity 3.0 is over 2.5"]),
        ({"min_chrf": 0.1}, ["chrF was not measured"]),
    ],
)  # fmt: skip
def test_each_bound_is_held_or_named(gate: dict[str, float], reasons: list[str]) -> None:
    chosen = recipe(**gate)
    assert missed_bounds(chosen.gate, gated_figures(chosen, FIGURES)) == reasons
    if not reasons:
        check_gate(chosen, FIGURES)
        return
    with pytest.raises(GateError) as error:
        check_gate(chosen, FIGURES)
    assert error.value.what == "; ".join(reasons)
    assert error.value.exit_code == ExitCode.GATE


def test_without_questions_what_they_would_tell_is_missed() -> None:
    chosen = recipe(min_facts_found=0.0, min_hit5=0.0)
    nothing = {**FIGURES, "answers": {}, "retrieval": {}}
    assert missed_bounds(chosen.gate, gated_figures(chosen, nothing)) == [
        "hit@5 was not measured",
        "facts found was not measured",
    ]


def test_every_bound_of_a_gate_has_its_figure() -> None:
    known = gated_figures(recipe(), FIGURES)
    assert {name.split("_", 1)[1] for name in Gate.model_fields} == set(known)
    assert all(name.startswith(("min_", "max_")) for name in Gate.model_fields)


def test_a_number_that_is_none_passes_no_gate() -> None:
    assert missed_bounds(Gate(max_kl=1.0), {"kl": float("nan")}) == ["KL nan is over 1.0"]
