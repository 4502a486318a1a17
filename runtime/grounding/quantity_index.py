"""Looks up whether the quantities of a text support a claim, for many claims at once.

Promises: the same verdict as asking `Quantity.supports` of every quantity in turn, in constant time per claim, so that
an answer of a thousand numbers is checked against a thousand numbers without a million comparisons. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product

from runtime.text.quantities import Quantity


class QuantityIndex:
    """The quantities of one or several texts."""

    def __init__(self, known: Iterable[Quantity]) -> None:
        self._units: defaultdict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
        for quantity in known:
            for value in _supported_values(quantity):
                self._units[quantity.kind, value].add(quantity.unit)

    def supports(self, claim: Quantity) -> bool:
        """Whether any known quantity supports the claim."""
        units = self._units.get((claim.kind, claim.value))
        if units is None:
            return False
        # A number without a unit, on either side, agrees with one that has any; dates have none.
        return claim.kind == "date" or not claim.unit or "" in units or claim.unit in units


def _supported_values(quantity: Quantity) -> Iterator[tuple[str, ...]]:
    """The values a claim may have: of a date also those that leave year, month or day out."""
    if quantity.kind == "date":
        yield from set(product(*(("", part) for part in quantity.value)))
    else:
        yield quantity.value
