"""What a release must reach: every bound that the recipe's `[gate]` sets, compared with what the build measured.

Pure. What counts as missed is `runtime.bundle.gate_record.missed_bounds`. Knows nothing of how figures are measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from distill.recipe.recipe import Gate
from runtime.bundle.gate_record import missed_bounds
from runtime.errors import GateError


def check_gate(gate: Gate, figures: Mapping[str, float | None], *, where: str = "gate") -> None:
    """`GateError` naming every bound that is missed; `figures` by name, None for what was not measured."""
    if reasons := missed_bounds(set_bounds(gate), figures):
        raise GateError(
            "the release misses its gate: " + "; ".join(reasons),
            where=where,
            hint="see quantized/answers/answers.html in the work folder; train on more packs, or lower the bound",
        )


def set_bounds(gate: Gate) -> dict[str, float]:
    """The bounds that a recipe sets, by their names, in the gate's order."""
    return {name: bound for name, bound in gate if bound is not None}


def largest_intent_drop(before: Mapping[str, float], after: Mapping[str, float]) -> float | None:
    """How much worse the intent is that lost most, of the shares answered right by intent; None without a common one.

    0 where none is worse.
    """
    drops = [share - after[intent] for intent, share in before.items() if intent in after]
    return round(max(0.0, *drops), 4) if drops else None
