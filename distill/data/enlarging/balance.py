"""How many records of each intent there should be: heads capped, tails raised, the rest drawn together.

A share of n examples becomes one of n^temperature (1 keeps the shares, 0 makes all equal), as in multilingual training
(Conneau et al., arXiv:1911.02116). Promises: what stays is chosen by a record's id and the seed alone, so adding
records moves few others; the order is kept; what goes has a reason. Knows nothing of what intents mean.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from distill.data.steps import Dropped, WholeStep

Item = TypeVar("Item")


def target_counts(
    counts: Mapping[str, int], *, cap: int | None = None, floor: int = 0, temperature: float = 1.0
) -> dict[str, int]:
    """How many examples of each label are wanted; the largest label keeps its number unless `cap` is below it.

    `ValueError` for a temperature outside 0 to 1, or a floor above the cap.
    """
    if not 0 <= temperature <= 1:
        raise ValueError(f"temperature {temperature} is not between 0 and 1")
    if cap is not None and cap < max(floor, 1):
        raise ValueError(f"cap {cap} is below floor {floor}")
    most = max(counts.values(), default=0)
    wanted = {}
    for label, count in counts.items():
        # The largest stays where it is; a temperature below 1 asks more of the others, which their floor limits.
        drawn = round(most * (count / most) ** temperature) if count else 0
        wanted[label] = min(max(drawn if temperature < 1 else count, floor), cap if cap is not None else most)
    return wanted


def lacking(counts: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, int]:
    """How many examples of each label are to be made, of those that lack some."""
    return {label: wanted[label] - count for label, count in sorted(counts.items()) if wanted[label] > count}


def balance_step(
    label_of: Callable[[Item], str | None],
    where: Callable[[Item], str],
    *,
    cap: int,
    seed: int = 7,
) -> WholeStep[Item]:
    """The step that drops what is above `cap` of a label; items without a label stay."""

    def run(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Dropped]]:
        by_label: defaultdict[str, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            if label := label_of(item):
                by_label[label].append(place)
        gone: dict[int, str] = {}
        for label, places in by_label.items():
            ranked = sorted(places, key=lambda place: _rank(where(items[place]), seed))
            gone |= dict.fromkeys(ranked[cap:], label)
        kept = [item for place, item in enumerate(items) if place not in gone]
        reason = "more of one intent than the cap"
        return kept, [Dropped(reason, where(items[place]), gone[place]) for place in sorted(gone)]

    return WholeStep("balance", run)


def label_counts(items: Sequence[Item], label_of: Callable[[Item], str | None]) -> Counter[str]:
    """How many items have each label."""
    return Counter(label for item in items if (label := label_of(item)))


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
