"""BM25 over words and character pairs: the half of retrieval that knows a product code when it sees one.

Latin script is cut into words. Chinese is cut into overlapping pairs of characters: no dictionary is needed, so a new
product's name is found on its first day, most Chinese words are two characters long, and a wrong segmentation can
never hide a match. A run of one character stands for itself. Knows nothing of vectors and articles.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from runtime.text.articles import HAN, is_han
from runtime.text.normalize import nfkc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RUN = re.compile(r"\w+")
_SCRIPTS = re.compile(f"[{HAN}]+|[^{HAN}]+")
"""Cuts a run where Han characters begin or end."""
_PLURAL = re.compile(r"(?<=[a-z]{3})(?<![isu])s$")


def terms(text: str) -> list[str]:
    """What a text is matched by, in order: lower-case words without a plural s, and pairs of Han characters."""
    out: list[str] = []
    for run in _RUN.findall(nfkc(text).casefold().replace("_", " ")):
        # Nearly every run is of one script: asked once a run, not once a character, which a start has 600,000 of.
        if run.isascii():
            out.append(_PLURAL.sub("", run) if run.endswith("s") else run)
            continue
        for part in _SCRIPTS.findall(run):
            if is_han(part[0]):
                out += _pairs(part)
            else:
                out.append(_PLURAL.sub("", part))
    return out


def content_terms(text: str) -> list[str]:
    """The terms of a text that any other text need not share; all of them where no other is left."""
    found = terms(text)
    return [term for term in found if term not in _COMMON_WORDS] or found


def term_agreement(one: Counter[str], other: Counter[str]) -> float:
    """How much two texts say in the same terms (F1 of their counted terms, 0 to 1)."""
    both = (one & other).total()
    return 2 * both / (one.total() + other.total()) if both else 0.0


def _pairs(han: str) -> list[str]:
    return [left + right for left, right in pairwise(han)] or [han]


_COMMON_WORDS = frozenset(
    terms(
        "a about after all also am an and any are as at be been before but by can could d did do does don for from get "
        "got had has have he hello help her here hi him his how i if in into is isn it its just know let ll m may me "
        "more most must my need no not of on once one only or our out please re s she should so some such t tell than "
        "thank thanks that the their them then there these they this to up us ve want was we were what when where "
        "which while who why will with would yes you your "
        "的我 我的 你们 我们 您的 你的 什么 怎么 如何 为什 么样 可以 吗可 能不 不能 请问 一下 这个 那个 "
        "哪个 哪些 多少 是不 不是 有没 没有 是否 么办 怎样 的吗 是什 会不 我想 想要 想问 如果 需要 进行 "
        "一个 以及 或者 因此 所以 但是 你好 谢谢 呢我 了吗 还是 就是 应该 为何 么会 么是"
    )
)
"""What any two questions share. A small company's articles use "what" and "does" so seldom that BM25 takes them for
rare words, and finds the one section with a question in it."""


class BM25:
    """Okapi BM25 (Robertson & Zaragoza 2009) with the never-negative idf of Lucene."""

    def __init__(self, texts: Sequence[str], *, k1: float = 1.2, b: float = 0.75) -> None:
        # Arrays, not lists of numbers: a hundred thousand texts have ten million entries.
        found: defaultdict[str, tuple[array[int], array[float]]] = defaultdict(lambda: (array("I"), array("f")))
        lengths = np.zeros(len(texts), dtype=np.float32)
        for index, text in enumerate(texts):
            count = Counter(terms(text))
            lengths[index] = count.total()
            for term, times in count.items():
                rows, often = found[term]
                rows.append(index)
                often.append(times)
        self.size = len(texts)
        self._k1 = k1
        self._norm = k1 * (1 - b + b * lengths / max(float(lengths.mean()) if self.size else 0.0, 1.0))
        self._postings = {
            term: (np.frombuffer(rows, dtype=np.uint32), np.frombuffer(often, dtype=np.float32))
            for term, (rows, often) in found.items()
        }

    def scores(self, query: str) -> NDArray[np.float32]:
        """One score per text, [size], zero where no term is shared."""
        return self.term_scores(terms(query))

    def term_scores(self, wanted: Sequence[str]) -> NDArray[np.float32]:
        """The same for a query that is cut into terms already."""
        out = np.zeros(self.size, dtype=np.float32)
        for term, weight in Counter(wanted).items():
            if term in self._postings:
                rows, times = self._postings[term]
                idf = np.log1p((self.size - len(rows) + 0.5) / (len(rows) + 0.5))
                out[rows] += weight * idf * times * (self._k1 + 1) / (times + self._norm[rows])
        return out
