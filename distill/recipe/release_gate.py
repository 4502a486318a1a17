"""What a release must reach: every figure that the recipe demands, against what the build measured.

Pure. A figure that is demanded and was not measured counts as missed. Retrieval counts in the languages the model
writes, the worst of them; answers and perplexity are those of the default file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.recipe.recipe import Gate, Recipe
from runtime.errors import GateError

_WORDS = {"kl": "KL", "top1": "top-1", "hit5": "hit@5", "chrf": "chrF"}


def check_gate(recipe: Recipe, figures: Mapping[str, Any]) -> None:
    """`GateError` naming every figure that is demanded and not reached; `figures` are those of a whole build."""
    reasons = missed_bounds(recipe.gate, gated_figures(recipe, figures))
    if reasons:
        raise GateError("; ".join(reasons), where="[gate]", hint="train longer, look at the report, or lower the gate")


def gated_figures(recipe: Recipe, figures: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures a gate may name, out of a build's.

    KL and top-1 are those of the student that is released; where no teacher was captured it has none to be far from.
    """
    student = figures["student"] or {}
    held_out = student.get("tuned") or student.get("distilled") or {"kl": 0.0, "top1": 1.0}
    hits = [row["hit@5"] for lang, row in figures["retrieval"].items() if lang in recipe.languages]
    default = recipe.quantize.default
    files = {row["format"]: row for row in figures["quantized"]}
    answers = figures["answers"].get(default, {})
    # Of the reply that an agent wrote: the held-out records have one always, questions only where somebody gave one.
    perplexity = files.get(default, {}).get("perplexity")
    return {
        **{name: answers.get(name) for name in _of_answers()},
        "kl": held_out["kl"],
        "top1": held_out["top1"],
        "hit5": min(hits) if hits else None,
        "perplexity": perplexity,
    }


def missed_bounds(gate: Gate, figures: Mapping[str, float | None]) -> list[str]:
    """A reason for every bound of the gate that is not held, in the gate's order."""
    reasons = []
    for name, bound in gate:
        if bound is None:
            continue
        side, key = name.split("_", 1)
        value, word = figures.get(key), _WORDS.get(key, key.replace("_", " "))
        if value is None:
            reasons.append(f"{word} was not measured")
        elif side == "max" and not value <= bound:
            reasons.append(f"{word} {value} is over {bound}")
        elif side == "min" and not value >= bound:
            reasons.append(f"{word} {value} is under {bound}")
    return reasons


def _of_answers() -> list[str]:
    keys = [name.split("_", 1)[1] for name in Gate.model_fields]
    return [key for key in keys if key not in ("kl", "top1", "hit5", "perplexity")]
