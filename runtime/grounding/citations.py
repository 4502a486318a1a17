"""Which sections an answer rests on, and which of its quantities rest on none.

Both are read off the texts alone, in English and Chinese, by shared words, pairs of characters and quantities: no model
judges itself. Promises: an answer that quotes a section is cited; one that shares nothing with the sections is not.
Time grows linearly with the answer and with the sections. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from runtime.grounding.quantity_index import QuantityIndex
from runtime.text.articles import Section
from runtime.text.quantities import quantities
from runtime.text.sentences import sentences
from runtime.text.tokens import terms

MAX_CITED = 3
MIN_SHARE = 0.4
"""Of a sentence's weight (0 to 1); below it the shared words are what any two sentences of a shop share."""
QUOTE_TERMS = 6
"""So many terms in the same order are a quotation, however long the sentence around them."""
MAX_SENTENCES = 200
"""Sentences of an answer that are compared with each sentence of a section; no answer of a model is as long."""
_QUANTITY_WEIGHT = 3.0
"""A price or a period says more about where a sentence comes from than a word."""
_COMMON = frozenset(
    terms(
        "a about after all also am an and any are as at be been before but by can could did do does don for "
        "from had has have he her here him his how i if in into is isn it its just may me more most must my "
        "no not of on once one only or our out please she should so some such t than that the their them then "
        "there these they this to up us was we were what when where which while who will with would yes you "
        "your "
        "您的 你的 我们 我的 可以 是的 请您 如果 需要 这个 那个 没有 以及 或者 因此 所以 但是 进行 一个"
    )
)
"""What any two sentences share."""


def cite(answer: str, sections: Sequence[Section]) -> list[Section]:
    """The sections that support the answer, best first, at most three; [] when none does.

    Each sentence counts for the one section it shares most with, if that is enough; on equal terms for the earlier one.
    """
    texts = [TermBag(source_text(section)) for section in sections]
    support = [0.0] * len(sections)
    for sentence in sentences(answer):
        said = TermBag(sentence)
        shares = [said.weight_in(text) for text in texts]
        best = max(range(len(shares)), key=shares.__getitem__, default=-1)
        if best >= 0 and (shares[best] >= MIN_SHARE * said.weight > 0 or said.quotes(texts[best])):
            support[best] += shares[best]
            continue
        # A long sentence around a short quotation shares little with any section, but the quotation tells which.
        for index, text in enumerate(texts):
            if said.quotes(text):
                support[index] += shares[index]
                break
    order = sorted((index for index, value in enumerate(support) if value > 0), key=lambda index: -support[index])
    return [sections[index] for index in order[:MAX_CITED]]


def supporting_sentences(answer: str, section: Section) -> list[str]:
    """The sentences of a section that an answer rests on, in the section's order."""
    said = [TermBag(sentence) for sentence in sentences(answer)[:MAX_SENTENCES]]
    return [sentence for sentence in sentences(section.text) if _bears_out(TermBag(sentence), said)]


def unsupported_quantities(answer: str, sources: Iterable[str]) -> list[str]:
    """The numbers, prices, dates, times and codes of the answer that no source contains, as written, each once."""
    known = QuantityIndex(found for source in sources for found in quantities(source, loose=True))
    return list(dict.fromkeys(claim.text for claim in quantities(answer) if not known.supports(claim)))


def source_text(section: Section) -> str:
    """What a section says to a checker: its title and heading too, because they say what "it" is."""
    return f"{section.title}\n{section.heading}\n{section.text}"


class TermBag:
    """A text as what it can share with another: terms in order, content terms, quantities."""

    def __init__(self, text: str) -> None:
        self.order = terms(text)
        self.content = {term for term in self.order if term not in _COMMON and not term.isdecimal()}
        self.quantities = quantities(text)
        self.weight = len(self.content) + _QUANTITY_WEIGHT * len(self.quantities)

    def weight_in(self, other: TermBag) -> float:
        """How much of this text's weight the other holds: 0 to `weight`."""
        found = sum(other._known.supports(claim) for claim in self.quantities)
        return len(self.content & other.content) + _QUANTITY_WEIGHT * found

    def share_in(self, other: TermBag) -> float:
        """The same as a share, 0 to 1; 0 for a text without content terms and quantities."""
        return min(1.0, self.weight_in(other) / self.weight) if self.weight else 0.0

    def quotes(self, other: TermBag) -> bool:
        """Whether `QUOTE_TERMS` terms of this text stand in the other in the same order."""
        return not self._runs.isdisjoint(other._runs)

    # Kept, because one text is compared with every sentence of another.
    @cached_property
    def _known(self) -> QuantityIndex:
        return QuantityIndex(self.quantities)

    @cached_property
    def _runs(self) -> frozenset[tuple[str, ...]]:
        starts = range(len(self.order) - QUOTE_TERMS + 1)
        return frozenset(tuple(self.order[start : start + QUOTE_TERMS]) for start in starts)


def _bears_out(here: TermBag, said: Sequence[TermBag]) -> bool:
    return any(
        one.quotes(here) or (one.weight and one.weight_in(here) >= MIN_SHARE * min(one.weight, here.weight) > 0)
        for one in said
    )
