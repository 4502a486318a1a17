"""Which sections a search may find: by language, day, branch, product and audience.

The same few questions come all day, so their answers are kept. Promises: articles in the asked-for language where the
corpus has it, in any other where it has not. Pure; knows nothing of vectors and words.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.text.articles import Article, Section

KEPT = 16
"""Scopes that are remembered, a byte a section each."""


class Filter(NamedTuple):
    """What is asked of a section before it is searched for; "" asks nothing."""

    lang: str
    day: date
    branch: str = ""
    product: str = ""
    internal: bool = True
    """Whether internal sections may be found too."""


class FilterIndex:
    """The sections of one corpus. Safe to ask from several threads."""

    def __init__(self, rows: Sequence[tuple[Article, Section]]) -> None:
        self._rows = rows
        self._languages = {article.lang for article, _ in rows}
        self._kept: OrderedDict[Filter, NDArray[np.bool_]] = OrderedDict()

    def allowed(self, wanted: Filter) -> NDArray[np.bool_]:
        """[sections]: which of them may be found. Not to be written to."""
        if (known := self._kept.get(wanted)) is not None:
            return known
        only = {wanted.lang} if wanted.lang in self._languages else self._languages
        found = np.array(
            [
                article.lang in only
                and article.valid_on(wanted.day)
                and article.fits(branch=wanted.branch, product=wanted.product)
                and (wanted.internal or section.audience == "public")
                for article, section in self._rows
            ],
            dtype=bool,
        )
        self._kept[wanted] = found
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found
