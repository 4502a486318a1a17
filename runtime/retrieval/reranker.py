"""A second look at the best sections: every token of the question against every token of a section.

    score of a section  +=  weight * z(mean over the question's tokens of the best cosine among the section's)

Late interaction (ColBERT, arXiv:2004.12832) on the states of the bundle's own encoder, which was not trained for it:
whether it helps is the company's set's to say (`edgedesk evaluate retrieval --rerank 0.25`). Off unless asked for.
Promises: only the order of the first ten changes. Knows nothing of how they were found.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.base.statistics import z_scores
from runtime.retrieval.embedder import Embedder
from runtime.text.articles import Section

LOOKED_AT = 10
KEPT = 256
"""Sections whose states stay in memory: some 40 MB."""


class Reranker:
    """Safe to use from several threads: at worst a section is read twice."""

    def __init__(self, embedder: Embedder, weight: float, pieces: Callable[[Section], Sequence[str]]) -> None:
        """`pieces`: a section's text as the encoder reads it."""
        self._embedder = embedder
        self._weight = weight
        self._pieces = pieces
        self._states: OrderedDict[Section, list[NDArray[np.float16]]] = OrderedDict()

    def gains(self, question: str, sections: Sequence[Section]) -> list[float]:
        """What is added to the score of each of the best sections; nothing for those behind the tenth."""
        (asked,) = self._embedder.states([question], questions=True)
        best = []
        for section in sections[:LOOKED_AT]:
            pieces = (asked @ states.astype(np.float32).T for states in self._token_states(section))
            # [question tokens, piece tokens] -> each question token's best cosine, averaged; the best piece counts.
            best.append(max(float(cosines.max(axis=1).mean()) for cosines in pieces))
        return [self._weight * float(score) for score in z_scores(best)]

    def _token_states(self, section: Section) -> list[NDArray[np.float16]]:
        if (known := self._states.get(section)) is None:
            read = self._embedder.states(self._pieces(section), questions=False)
            known = self._states[section] = [states.astype(np.float16) for states in read]
            while len(self._states) > KEPT:
                self._states.popitem(last=False)
        return known
