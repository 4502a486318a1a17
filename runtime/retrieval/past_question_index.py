"""How much the questions asked before say for each section, for one new question.

    support of a section = z(cosine of the nearest question it answered)
                         + 0.75 · z(words that question shares with the new one, as a share of both)
                         + 3 where these are nearly all

An earlier question counts by what it proves. A near-identical one decides, whatever its section looks like. That no
question of a section is near says something only where many are known: a section with few is taken to be asked about
as its own text suggests, so that new articles do not lose against old ones. A question that says all the new one says
*and more* ("what does delivery of a washing machine cost" for "what does delivery cost") is about a special case and
counts for less. Words weigh by how few articles were asked about with them, so greetings weigh nothing. Pure; knows
nothing of indexes and encoders.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.text.tokens import terms

WORD_WEIGHT = 0.75
HALF_KNOWN = 6
"""So many questions known of a section, and their silence counts half."""
NEARLY_SAME = 0.7
SAME_WEIGHT = 3.0
"""Added for a question of the same words, in full; nothing where fewer than this share of both is shared."""
EXPECTED = 0.8
"""Of a section's own standard score: what its questions would score if there were any. Chosen with the two above on
shop en and banking77 of benchmarks/retrieval.py."""


class NearQuestion(NamedTuple):
    """An earlier question near to a new one: its number, the section that answered it, and its cosine."""

    number: int
    section: int
    cosine: float


class PastQuestionIndex:
    """The earlier questions of one corpus; safe to ask from several threads."""

    def __init__(self, texts: Sequence[str], sections: NDArray[np.int64], articles: Sequence[str]) -> None:
        """`sections` [texts]: which answered each; `articles` [all sections]: the article of each section."""
        self._sections = sections
        self._known = np.bincount(sections, minlength=len(articles)).astype(np.float64)
        words = [frozenset(terms(text)) for text in texts]
        self._said = words
        about = [articles[section] for section in sections.tolist()]
        used: defaultdict[str, set[str]] = defaultdict(set)
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, (said, article) in enumerate(zip(words, about, strict=True)):
            for term in said:
                used[term].add(article)
                rows[term].append(row)
        self._articles = len(set(about))
        self._weights = weights = {term: self._weigh(len(names)) for term, names in used.items()}
        # Lists: of fifteen thousand terms a question has ten.
        self._rows: Mapping[str, list[int]] = rows
        self._totals = np.array([sum(map(weights.__getitem__, said)) for said in words], dtype=np.float64)

    def support(
        self,
        question: str,
        near: Sequence[NearQuestion],
        candidates: NDArray[np.int64],
        nearness: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """What is added to the score of each candidate section, [candidates].

        `near`: the nearest earlier questions, nearest first; `nearness`: the candidates' own standard scores.
        """
        asked = self._known[candidates]
        if not near or not asked.any():
            return np.zeros(len(candidates))
        shared, special = self._words(question)
        counts = 1 - special
        numbers = np.array([one.number for one in near])
        cosines = np.array([one.cosine for one in near])
        # A section with no question among the nearest gets the least cosine of these.
        least = cosines.min()
        best = np.full(len(self._known), least)
        np.maximum.at(best, self._sections[numbers], least + (cosines - least) * counts[numbers])
        words = np.zeros(len(self._known))
        np.maximum.at(words, self._sections, shared * counts)
        certain = asked / (asked + HALF_KNOWN)
        expected = EXPECTED * nearness
        out = np.zeros(len(candidates))
        for weight, values in ((1.0, best[candidates]), (WORD_WEIGHT, words[candidates])):
            spread = values[asked > 0].std()
            score = (values - values[asked > 0].mean()) / spread if spread > 1e-9 else np.zeros(len(values))
            silent = certain * score + (1 - certain) * expected
            out += weight * np.where(asked > 0, np.maximum(score, silent), expected)
        # Standard scores over a handful of sections are small however near a question is: the same words are the same.
        same = np.clip((words[candidates] - NEARLY_SAME) / (1 - NEARLY_SAME), 0, 1)
        return np.asarray(out + SAME_WEIGHT * same)

    def says_more(self, question: str, number: int) -> float:
        """How much of an earlier question is a case that the new one, which it says all of, does not name (0 to 1)."""
        asked, said = frozenset(terms(question)), self._said[number]
        unknown = self._weigh(1)
        total = sum(self._weights.get(term, unknown) for term in asked)
        shared = sum(self._weights[term] for term in asked & said)
        return max(0.0, shared / max(total, 1e-9) - shared / max(float(self._totals[number]), 1e-9))

    def _words(self, question: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each earlier question: the weight shared as a share of both (Dice), and how much more it says (0 to 1)."""
        shared = np.zeros(len(self._totals))
        total = 0.0
        unknown = self._weigh(1)  # a word that nobody used is no rarer than one that is known of one article
        for term in frozenset(terms(question)):
            weight = self._weights.get(term, unknown)
            total += weight
            if term in self._rows:
                shared[self._rows[term]] += weight
        dice = 2 * shared / np.maximum(total + self._totals, 1e-9)
        covered, needed = shared / max(total, 1e-9), shared / np.maximum(self._totals, 1e-9)
        return dice, np.clip(covered - needed, 0, 1)

    def _weigh(self, articles: int) -> float:
        return math.log1p((self._articles - articles + 0.5) / (articles + 0.5))
