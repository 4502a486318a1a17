"""Which sections an answer rests on, and which of its figures rest on none.

Both are read off the texts alone, in English and Chinese, by shared words, pairs of characters and figures: no model
judges itself. Promises: an answer that quotes a section is cited; one that shares nothing with the sections is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.text.articles import Section
from runtime.text.quantities import quantities
from runtime.text.sentences import sentences
from runtime.text.tokens import terms

MAX_CITED = 3
MIN_SHARE = 0.4
"""Of a sentence's weight; below it the shared words are what any two sentences of a shop share."""
QUOTE_TERMS = 6
"""So many terms in the same order are a quotation, however long the sentence around them."""
_FIGURE_WEIGHT = 3.0
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

    Each sentence goes to the one section it shares most with, if that is enough; on equal terms to the earlier one.
    """
    texts = [_Words(f"{section.title} {section.heading} {section.text}") for section in sections]
    support = [0.0] * len(sections)
    for sentence in sentences(answer):
        said = _Words(sentence)
        shares = [said.found_in(text) for text in texts]
        best = max(range(len(shares)), key=shares.__getitem__, default=-1)
        if best >= 0 and (shares[best] >= MIN_SHARE * said.weight > 0 or said.quotes(texts[best])):
            support[best] += shares[best]
            continue
        for index, text in enumerate(texts):
            if said.quotes(text):
                support[index] += shares[index]
                break
    order = sorted((index for index, value in enumerate(support) if value > 0), key=lambda index: -support[index])
    return [sections[index] for index in order[:MAX_CITED]]


def supporting(answer: str, section: Section) -> list[str]:
    """The sentences of a section that an answer rests on, in the section's order."""
    said = [_Words(sentence) for sentence in sentences(answer)]
    out = []
    for sentence in sentences(section.text):
        here = _Words(sentence)
        if any(
            one.quotes(here) or (one.weight and one.found_in(here) >= MIN_SHARE * min(one.weight, here.weight) > 0)
            for one in said
        ):
            out.append(sentence)
    return out


def unsupported(answer: str, sections: Sequence[Section]) -> list[str]:
    """The numbers, prices, dates, times and codes of the answer that no section contains, as written, each once."""
    known = [
        figure
        for section in sections
        for figure in quantities(f"{section.title}\n{section.heading}\n{section.text}", loose=True)
    ]
    missing = (claim.text for claim in quantities(answer) if not any(figure.supports(claim) for figure in known))
    return list(dict.fromkeys(missing))


def share(text: str, source: str) -> float:
    """How much of a text's content words and figures stand in a source, 0 to 1; 0 for a text without any."""
    said = _Words(text)
    return min(1.0, said.found_in(_Words(source)) / said.weight) if said.weight else 0.0


class _Words:
    """A text as what can be shared with another: terms in order, content terms, figures."""

    def __init__(self, text: str) -> None:
        self.order = terms(text)
        self.content = {term for term in self.order if term not in _COMMON and not term.isdecimal()}
        self.figures = quantities(text)
        self.weight = len(self.content) + _FIGURE_WEIGHT * len(self.figures)

    def found_in(self, other: _Words) -> float:
        """How much of this text's weight the other holds."""
        figures_found = sum(any(known.supports(claim) for known in other.figures) for claim in self.figures)
        return len(self.content & other.content) + _FIGURE_WEIGHT * figures_found

    def quotes(self, other: _Words) -> bool:
        """Whether a run of this text's terms stands in the other."""
        runs = {tuple(other.order[start : start + QUOTE_TERMS]) for start in range(len(other.order) - QUOTE_TERMS + 1)}
        return any(
            tuple(self.order[start : start + QUOTE_TERMS]) in runs for start in range(len(self.order) - QUOTE_TERMS + 1)
        )
