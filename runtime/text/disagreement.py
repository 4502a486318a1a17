"""Whether two articles say the same thing with different figures: "within 30 days" here, "within 14 days" there.

Two sentences are taken to say the same where they share most of their words, figures left out; they disagree where both
give a figure of one unit that the other does not give. Promises: pure, and time grows linearly with each text. It sees
contradictions in figures alone and in like words, so what it finds is worth a look, and silence proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from runtime.text.articles import Section
from runtime.text.quantities import Quantity, quantities
from runtime.text.tables import split_items
from runtime.text.tokens import terms

SAME = 0.6
"""Of the words of both sentences and their titles (Dice), from which they say the same. The titles tell "it has been on
sale since May" of one product from that of another. Chosen on the example shop (decision 032)."""
LEAST_WORDS = 3
"""A shorter sentence ("Price: €5") says too little to be the same as another."""
MAX_CHARS = 400
"""Of an item that are read: figures are taken out of it one by one."""
MAX_STATEMENTS = 40
"""Of a section, that are compared; a table of prices disagrees with every other table."""


class FigureStatement(NamedTuple):
    """A sentence with a figure."""

    text: str
    words: frozenset[str]
    """With the title's, without the figures."""
    figures: Mapping[str, frozenset[tuple[str, ...]]]
    """Values by unit."""
    codes: frozenset[tuple[str, ...]]
    """Of products: two sentences about different ones do not say the same."""


class Dispute(NamedTuple):
    """Two sentences that say the same with different figures."""

    here: str
    there: str


def find_dispute(here: Section, there: Section) -> Dispute | None:
    """The first dispute between two sections; None where there is none."""
    if here.lang != there.lang:
        return None
    for one in statements(here.title, here.text):
        for other in statements(there.title, there.text):
            if _say_the_same(one, other) and _differ(one, other):
                return Dispute(one.text, other.text)
    return None


@lru_cache(maxsize=8192)
def statements(title: str, body: str) -> tuple[FigureStatement, ...]:
    """The sentences, list items and table rows of a section that give a figure with a unit."""
    found = []
    named = frozenset(terms(title))
    for item in split_items(body)[:MAX_STATEMENTS]:
        figures: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        text = item.text[:MAX_CHARS]
        known = quantities(text)
        for figure in known:
            if unit := _unit(figure):
                figures[unit].add(figure.value)
        if not figures:
            continue
        said = text
        for figure in known:
            said = said.replace(figure.text, " ")
        words = frozenset(term for term in terms(said) if not term.isdigit())
        if len(words) >= LEAST_WORDS:
            codes = frozenset(figure.value for figure in known if figure.kind == "code")
            by_unit = {unit: frozenset(values) for unit, values in figures.items()}
            found.append(FigureStatement(item.shown, words | named, by_unit, codes))
    return tuple(found)


def _unit(figure: Quantity) -> str:
    return figure.unit if figure.kind == "number" else figure.kind if figure.kind in ("date", "time") else ""


def _say_the_same(one: FigureStatement, other: FigureStatement) -> bool:
    if one.codes and other.codes and not one.codes & other.codes:
        return False
    return 2 * len(one.words & other.words) >= SAME * (len(one.words) + len(other.words))


def _differ(one: FigureStatement, other: FigureStatement) -> bool:
    shared = one.figures.keys() & other.figures.keys()
    # Both must have one that the other lacks: a sentence that only says more contradicts nothing.
    return any(one.figures[unit] - other.figures[unit] and other.figures[unit] - one.figures[unit] for unit in shared)
