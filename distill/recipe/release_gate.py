"""What a release must reach: every bound that the recipe's `[gate]` sets, compared with what the build measured.

Pure. A bound is `min_` or `max_` and the name of a figure. A figure that is demanded and was not measured counts as
missed, and so does one that is not a number. Knows nothing of how figures are measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from distill.recipe.recipe import Gate
from runtime.errors import GateError

_WORDS = {"kl": "KL", "top1": "top-1", "hit5": "hit@5", "chrf": "chrF"}


def check_gate(gate: Gate, figures: Mapping[str, float | None], *, where: str = "gate") -> None:
    """`GateError` naming every bound that is missed; `figures` by name, None for what was not measured."""
    if reasons := missed_bounds(gate, figures):
        raise GateError(
            "the release misses its gate: " + "; ".join(reasons),
            where=where,
            hint="see quantized/answers/answers.html in the work folder; train on more packs, or lower the bound",
        )


def largest_intent_drop(before: Mapping[str, float], after: Mapping[str, float]) -> float | None:
    """How much worse the intent is that lost most, of the shares answered right by intent; None without a common one.

    0 where none is worse.
    """
    drops = [share - after[intent] for intent, share in before.items() if intent in after]
    return round(max(0.0, *drops), 4) if drops else None


def missed_bounds(gate: Gate, figures: Mapping[str, float | None]) -> list[str]:
    """A sentence for every bound of the gate that is missed, in the gate's order."""
    reasons = []
    for name, bound in gate:
        if bound is None:
            continue
        side, key = name.split("_", 1)
        value, word = figures.get(key), _WORDS.get(key, key.replace("_", " "))
        if value is None:
            reasons.append(f"{word} was not measured ({name} = {bound})")
        # Written so that NaN, which compares false with everything, misses both kinds of bound.
        elif (side == "max" and not value <= bound) or (side == "min" and not value >= bound):
            reasons.append(f"{word} is {value} ({name} = {bound})")
    return reasons
