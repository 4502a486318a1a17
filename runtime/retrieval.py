"""Finds the sections that answer a question: vectors in Chroma, words in BM25, one weighted score.

    score = z(cosine of the best piece) + w · z(BM25)      z over the candidates of this question

A long section is embedded in overlapping pieces and counts by its best one. Promises: only sections valid on the day,
in the question's language where the corpus has it. Knows nothing of prompts and of how the index is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.articles import Article, Section, guess_language, load_articles
from runtime.embedder import Embedder, Progress
from runtime.errors import MissingError
from runtime.index import VectorIndex
from runtime.lexical import BM25
from runtime.manifest import digest
from runtime.sentences import pieces

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.bundle import Bundle

LEXICAL_WEIGHT = 0.2
"""0.1 to 0.3 helped on every set tried; equal weights fell below the vectors alone."""
PIECE_TERMS = 90
"""About five sentences: beyond that a vector blurs what its sentences say."""
CANDIDATES = 100
"""Pieces taken from the vectors, and sections from BM25, before the two are weighed."""


@dataclass(frozen=True)
class Hit:
    """A section found: `score` ranks within one search, `similarity` (cosine, -1 to 1) compares between searches."""

    section: Section
    score: float
    similarity: float


class Retriever:
    """The articles of one bundle, ready to be searched. Safe to search from several threads; close it when done."""

    def __init__(self, articles: Sequence[Article], embedder: Embedder, cut: _Cut, index: VectorIndex) -> None:
        """Use `open` or `build`."""
        self.articles = tuple(articles)
        self.embedder = embedder
        self.weight = LEXICAL_WEIGHT
        self._rows = [(article, section) for article in articles for section in article.sections]
        self._languages = {article.lang for article in articles}
        self._by_id = {(article.id, article.lang): article for article in articles}
        self._lexical = BM25([f"{section.title} {section.heading} {section.text}" for _, section in self._rows])
        self._piece_counts = Counter(cut.groups)
        self._index = index

    @classmethod
    def open(cls, bundle: Bundle, index_dir: Path, *, threads: int = 2, progress: Progress | None = None) -> Retriever:
        """The retriever of an open bundle; its index is made in `index_dir` if need be."""
        articles = load_articles(bundle.articles_path)
        return cls.build(articles, Embedder(bundle.embedder_path, threads=threads), index_dir, progress=progress)

    @classmethod
    def build(
        cls, articles: Sequence[Article], embedder: Embedder, index_dir: Path, *, progress: Progress | None = None
    ) -> Retriever:
        """Take the index in `index_dir`, or make it anew when it is missing, stale or damaged.

        `progress(done, all)` counts the pieces embedded; it is not called when the index can be taken as it is.
        """
        sections = [section for article in articles for section in article.sections]
        if not sections:
            raise MissingError("no article to search", where=str(index_dir), hint="put articles into the bundle")
        cut = _cut(sections)
        inputs = {"embedder": embedder.fingerprint, "pieces": digest(cut)}
        index = VectorIndex.open(index_dir, inputs, cut.groups, lambda: embedder.passages(cut.texts, progress))
        return cls(articles, embedder, cut, index)

    def search(
        self,
        question: str,
        *,
        lang: str | None,
        limit: int,
        internal: bool = True,
        today: date | None = None,
    ) -> list[Hit]:
        """The best `limit` sections, best first, at most one per reference.

        Only sections in the question's language (`lang`, or guessed from its script) are looked at; if no article is
        written in it, all are. Articles outside their dates on `today`, and internal ones unless `internal`, are not.
        """
        import numpy as np

        lang = lang or guess_language(question)
        only = {lang} if lang in self._languages else self._languages
        day = today or datetime.now().astimezone().date()
        allowed = [
            number
            for number, (article, section) in enumerate(self._rows)
            if article.lang in only and article.valid_on(day) and (internal or section.audience == "public")
        ]
        if not allowed or limit < 1:
            return []
        words = self._lexical.scores(question)
        similarity = self._similarities(question, allowed, words)
        numbers = np.array(sorted(similarity))
        cosine = np.array([similarity[number] for number in numbers])
        score = _z(cosine) + self.weight * _z(words[numbers])
        hits: dict[str, Hit] = {}
        for index in np.lexsort((numbers, -score)):
            section = self._rows[numbers[index]][1]
            hits.setdefault(section.ref, Hit(section, float(score[index]), float(cosine[index])))
            if len(hits) == limit:
                break
        return list(hits.values())

    def article(self, identity: str, lang: str | None = None) -> Article:
        """An article by its id, in `lang` if it is written in it, else in any language; `MissingError` if unknown."""
        if found := self._by_id.get((identity, lang or "")):
            return found
        for article in self.articles:
            if article.id == identity:
                return article
        raise MissingError(f"no article '{identity}'", hint="ids are listed in the bundle's articles folder")

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _similarities(self, question: str, allowed: list[int], words: NDArray[np.float32]) -> dict[int, float]:
        """Cosine of the best piece, for the sections nearest by vector and for those nearest by words."""
        vector = self.embedder.queries([question])[0]
        count = min(CANDIDATES, sum(self._piece_counts[number] for number in allowed))
        found = self._index.nearest(vector, count, None if len(allowed) == len(self._rows) else allowed)
        seen = {number for number, _ in found}
        by_words = sorted((number for number in allowed if words[number] > 0), key=lambda number: -words[number])
        if missing := [number for number in by_words[:CANDIDATES] if number not in seen]:
            found += self._index.cosines(vector, missing)
        best: dict[int, float] = {}
        for number, cosine in found:
            best[number] = max(best.get(number, -1.0), cosine)
        return best


class _Cut(NamedTuple):
    """The pieces of all sections: piece k belongs to section `groups[k]`."""

    groups: list[int]
    texts: list[str]


def _z(values: NDArray[Any]) -> NDArray[np.float64]:
    """Values in standard deviations from their mean; zeros when they are all alike."""
    import numpy as np

    wide = values.astype(np.float64)
    spread = wide.std()
    return (wide - wide.mean()) / spread if spread > 1e-9 else np.zeros_like(wide)


def _cut(sections: Sequence[Section]) -> _Cut:
    """Every section in pieces; the title and heading go with each, because they say what "it" is."""
    cut = _Cut([], [])
    for number, section in enumerate(sections):
        head = ": ".join(dict.fromkeys(part for part in (section.title, section.heading) if part))
        for piece in pieces(section.text, PIECE_TERMS):
            cut.groups.append(number)
            cut.texts.append(f"{head}\n{piece}" if head else piece)
    return cut
