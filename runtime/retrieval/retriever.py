"""Finds the sections that answer a question: vectors in Chroma, words in BM25, one weighted score.

    score = z(cosine of the section) + 0.1 · z(its BM25) + what earlier questions say for it

z is taken over the candidates of this question; `past_question_index` weighs the earlier questions. A long section is
embedded in overlapping pieces and counts by its best one; `rerank` takes a second look at the ten best. Promises: only
sections valid on the day, in the question's language where the corpus has it. Knows nothing of prompts and of how the
index is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.base.manifest import digest, read_manifest
from runtime.base.progress import ProgressCallback
from runtime.base.statistics import z_scores
from runtime.bundle.bundle import Bundle
from runtime.errors import MissingError
from runtime.retrieval.chunks import ChunkTable, Kind, split_chunks
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.exact_index import ExactIndex
from runtime.retrieval.filters import Filter, FilterIndex
from runtime.retrieval.neighbour import Neighbour, SearchIndex
from runtime.retrieval.past_question_index import NearQuestion, PastQuestionIndex
from runtime.retrieval.past_questions import PastQuestion, read_past_questions
from runtime.retrieval.reranker import Reranker
from runtime.retrieval.shipped_vectors import VECTORS_FILE, read_vectors
from runtime.text.articles import Article, Section, guess_language, load_articles
from runtime.text.disagreement import find_dispute
from runtime.text.tokens import BM25, content_terms

LEXICAL_WEIGHT = 0.1
"""Of BM25 over the words that not every question has. Chosen on bitcoin_faq_zh and the shop's English questions; from
.15 on bitcoin_faq_zh falls below plain vectors (benchmarks/retrieval.py)."""
SPECIAL = 0.25
"""Of what an earlier question says more (`PastQuestionIndex.says_more`), from which it is about a special case. Of the
shop's 278 hand-written questions two meet such a one first."""
RIVALS = 10
"""Sections, the best ones found, with which each hit is compared for other figures. One not seen before takes .7 ms."""
CANDIDATES = 100
"""Sections' pieces taken from the vectors, and sections from BM25, before they are weighed."""
MOST: dict[Kind, int] = {"section": CANDIDATES, "asked": 200}
"""Passages looked at; a section with no earlier question among them gets the least similarity of these."""


class Earlier(NamedTuple):
    """What was replied to an earlier question, and that question's cosine to the one searched for."""

    reply: str
    similarity: float


@dataclass(frozen=True)
class Hit:
    """A section found: `score` ranks within one search, `similarity` (cosine, -1 to 1) compares between searches."""

    section: Section
    score: float
    similarity: float
    earlier: tuple[Earlier, ...] = ()
    """How the section answered the nearest questions before, nearest first."""
    special: bool = False
    """Whether the nearest of these names a case that the question does not: the section may be about that case."""
    disputed: tuple[str, ...] = ()
    """Sections of other articles that say the same with other figures (`runtime.text.disagreement`), best first."""


class Retriever:
    """The articles of one bundle, ready to be searched. Safe to search from several threads; close it when done."""

    def __init__(
        self,
        articles: Sequence[Article],
        embedder: Embedder,
        chunks: ChunkTable,
        index: SearchIndex,
        rerank: float = 0.0,
    ) -> None:
        """Use `open` or `build`."""
        self.articles = tuple(articles)
        self.embedder = embedder
        self._rows = [(article, section) for article in articles for section in article.sections]
        self._filters = FilterIndex(self._rows)
        self._by_id = {(article.id, article.lang): article for article in articles}
        self._lexical = BM25([f"{section.title} {section.heading} {section.text}" for _, section in self._rows])
        self._chunks = chunks
        self._past = PastQuestionIndex(
            [one.text for one in chunks.answered],
            chunks.section[chunks.pieces :],
            [article.id for article, _ in self._rows],
        )
        self._replies = [one.reply for one in chunks.answered]
        self._index = index
        self._reranker = Reranker(embedder, rerank, split_chunks) if rerank else None

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        index_dir: Path,
        *,
        threads: int = 2,
        rerank: float = 0.0,
        exact: bool = False,
        progress: ProgressCallback | None = None,
    ) -> Retriever:
        """The retriever of an open bundle; its index is made in `index_dir` if need be; `exact` as in `build`."""
        entries = read_manifest(bundle.root).files
        hashes = {
            path.name: one.sha256 for one in entries if (path := bundle.root / one.path).parent == bundle.embedder_path
        }
        # onnxruntime opens its session without Python's lock, half a second in which articles are read.
        with ThreadPoolExecutor(1, "embedder") as pool:
            loading = pool.submit(Embedder, bundle.embedder_path, threads=threads, hashes=hashes)
            articles, asked = load_articles(bundle.articles_path), read_past_questions(bundle.root)
            embedder = loading.result()
        return cls.build(
            articles,
            embedder,
            index_dir,
            asked=asked,
            shipped=bundle.root / VECTORS_FILE,
            rerank=rerank,
            exact=exact,
            progress=progress,
        )

    @classmethod
    def build(
        cls,
        articles: Sequence[Article],
        embedder: Embedder,
        index_dir: Path,
        *,
        asked: Sequence[PastQuestion] = (),
        shipped: Path | None = None,
        rerank: float = 0.0,
        exact: bool = False,
        progress: ProgressCallback | None = None,
    ) -> Retriever:
        """Take the index in `index_dir`, or make it anew when it is missing, stale or damaged.

        Vectors come from the file `shipped` (`runtime.retrieval.shipped_vectors`) as far as it has them.
        `progress(done, all)` counts the pieces that are embedded here; it is not called when there are none. `exact`:
        for a process that answers one question; it goes without Chroma (`runtime.retrieval.exact_index`).
        """
        sections = [section for article in articles for section in article.sections]
        if not sections:
            raise MissingError("no article to search", where=str(index_dir), hint="put articles into the bundle")
        found = ChunkTable(sections, asked)
        inputs = {"embedder": embedder.fingerprint, "pieces": digest(found.texts)}

        def vectors() -> NDArray[np.float32]:
            return read_vectors(embedder, found.texts, shipped, progress)

        def exactly() -> ExactIndex:
            return ExactIndex.open(index_dir, inputs, found.parts, vectors)

        if exact:
            return cls(articles, embedder, found, exactly(), rerank)
        # Inside: what leads to Chroma takes a fifth of a second to import.
        from runtime.retrieval.chroma_index import VectorIndex

        # By way of the array, so that nothing is embedded again where a process goes without Chroma.
        index = VectorIndex.open(index_dir, inputs, found.parts, lambda: exactly().vectors)
        return cls(articles, embedder, found, index, rerank)

    def search(
        self,
        question: str,
        *,
        lang: str | None,
        limit: int,
        internal: bool = True,
        branch: str = "",
        product: str = "",
        today: date | None = None,
    ) -> list[Hit]:
        """The best `limit` sections, best first, at most one per reference, not all of one article (`diversify`).

        Only sections in the question's language (`lang`, or guessed from its script) are looked at; if no article is
        written in it, all are. Articles outside their dates on `today`, those of other branches than `branch` or other
        products than `product` where these are given, and internal ones unless `internal`, are not.
        """
        lang = lang or guess_language(question)
        day = today or datetime.now().astimezone().date()
        allowed = self._filters.allowed(Filter(lang, day, branch, product, internal))
        if limit < 1 or not allowed.any():
            return []
        words = self._lexical.term_scores(content_terms(question))
        vector = self.embedder.queries([question])[0]
        nearest = self._near_questions(vector, allowed)
        before = _best_by_section([(near.section, near.cosine) for near in nearest])
        similarity = self._similarities(vector, allowed, words, before)
        numbers = np.array(sorted(similarity))
        cosine = np.array([similarity[number] for number in numbers])
        # Standard scores put cosines and BM25, whose ranges have nothing in common, on one scale for this question.
        score = z_scores(cosine)
        score += self._past.support(question, nearest, numbers, score) + LEXICAL_WEIGHT * z_scores(words[numbers])
        hits: dict[str, Hit] = {}
        for index in np.lexsort((numbers, -score)):
            section = self._rows[numbers[index]][1]
            hits.setdefault(section.ref, Hit(section, float(score[index]), float(cosine[index])))
        best = self._reranked(question, list(hits.values()))
        chosen = [self._with_replies(question, hit, nearest) for hit in diversify(best, limit)]
        found = self._with_general_case(question, chosen, best, nearest)
        return [replace(hit, disputed=_rivals(hit, best[:RIVALS])) for hit in found]

    def _with_general_case(
        self, question: str, chosen: list[Hit], best: Sequence[Hit], nearest: Sequence[NearQuestion]
    ) -> list[Hit]:
        """Where the first hit is a special case: the article nearest by its own text has the last place.

        What the question asks in general may rank low, because fewer people asked about it in such words. Of that
        article the section that ranks first is taken.
        """
        if len(chosen) < 2 or not chosen[0].special:
            return chosen
        article = max(best, key=lambda hit: hit.similarity).section.article
        general = next(hit for hit in best if hit.section.article == article)
        kept = {hit.section.ref for hit in chosen} | {general.section.ref}
        if len(kept) == len(chosen) or general.section.article == chosen[0].section.article:
            return chosen
        last = self._with_replies(question, replace(general, score=chosen[-1].score), nearest)
        return [*chosen[:-1], last]

    def _reranked(self, question: str, hits: list[Hit]) -> list[Hit]:
        if self._reranker is None:
            return hits
        gains = self._reranker.gains(question, [hit.section for hit in hits])
        first = [replace(hit, score=hit.score + gain) for hit, gain in zip(hits, gains, strict=False)]
        # What was behind the tenth stays behind.
        floor = max((hit.score for hit in hits[len(gains) :]), default=float("-inf"))
        first = [replace(hit, score=max(hit.score, floor)) for hit in first]
        return [*sorted(first, key=lambda hit: -hit.score), *hits[len(gains) :]]

    def _with_replies(self, question: str, hit: Hit, nearest: Sequence[NearQuestion]) -> Hit:
        own = [near for near in nearest if self._rows[near.section][1] == hit.section]
        replies = [Earlier(reply, near.cosine) for near in own if (reply := self._replies[near.number])]
        special = bool(own) and self._past.says_more(question, own[0].number) > SPECIAL
        return replace(hit, earlier=tuple(replies), special=special)

    def article(self, identity: str, lang: str | None = None) -> Article:
        """An article by its id, in `lang` if it is written in it, else in any language; `MissingError` if unknown."""
        if found := self._by_id.get((identity, lang or "")):
            return found
        for article in self.articles:
            if article.id == identity:
                return article
        raise MissingError(f"no article '{identity}'", hint="ids are listed in the bundle's articles folder")

    def section(self, reference: str, lang: str) -> Section | None:
        """A section by its reference, in `lang` if it is written in it, else in any; None when it is gone."""
        here = [section for _, section in self._rows if section.ref == reference]
        return next((section for section in here if section.lang == lang), here[0] if here else None)

    def cosines(self, question: str, texts: Sequence[str]) -> list[float]:
        """How near each of any texts is to a question."""
        return [float(value) for value in self.embedder.passages(texts) @ self.embedder.queries([question])[0]]

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _similarities(
        self,
        vector: NDArray[np.float32],
        allowed: NDArray[np.bool_],
        words: NDArray[np.float32],
        before: Iterable[int],
    ) -> dict[int, float]:
        """Cosine of the best piece, for the sections nearest by vector, by words, and by the questions `before`."""
        of = self._chunks.section
        found = [(int(of[near.row]), near.cosine) for near in self._nearest(vector, "section", allowed)]
        seen = {number for number, _ in found}
        shared = np.where(allowed, words, 0)
        by_words = np.argsort(-shared, kind="stable")[: min(CANDIDATES, int((shared > 0).sum()))].tolist()
        missing = [number for number in dict.fromkeys((*by_words, *before)) if number not in seen]
        rows = [row for number in missing for row in self._chunks.pieces_of(number)]
        found += [(int(of[near.row]), near.cosine) for near in self._index.cosines(vector, rows)]
        return _best_by_section(found)

    def _near_questions(self, vector: NDArray[np.float32], allowed: NDArray[np.bool_]) -> list[NearQuestion]:
        """The nearest earlier questions, nearest first."""
        of, first = self._chunks.section, self._chunks.pieces
        return [
            NearQuestion(near.row - first, int(of[near.row]), near.cosine)
            for near in self._nearest(vector, "asked", allowed)
        ]

    def _nearest(self, vector: NDArray[np.float32], kind: Kind, allowed: NDArray[np.bool_]) -> list[Neighbour]:
        """The nearest pieces of one kind whose sections are allowed, nearest first.

        Most parts of the index are allowed whole or not at all. Of one that is nearly whole more are fetched and those
        not allowed dropped; of any other the allowed ones are named, which Chroma takes long to go through.
        """
        most = MOST[kind]
        found: list[Neighbour] = []
        for part, rows in self._chunks.rows_of(kind):
            kept = allowed[self._chunks.section[rows]]
            out = len(rows) - int(kept.sum())
            if out == len(rows):
                continue
            among = rows[kept].tolist() if out > most else None
            near = self._index.nearest(vector, most if among else most + out, part, among)
            found += [one for one in near if allowed[self._chunks.section[one.row]]]
        return sorted(found, key=lambda near: -near.cosine)[:most]


def _rivals(hit: Hit, others: Sequence[Hit]) -> tuple[str, ...]:
    return tuple(
        other.section.ref
        for other in others
        if other.section.article != hit.section.article and find_dispute(hit.section, other.section)
    )


def diversify(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The first `limit` hits, at most two thirds of them from one article as long as others have any.

    An article stuffed with every word of the shop, by malice or by mistake, cannot push all others aside.
    """
    most = max(1, -(-2 * limit // 3))
    counts: Counter[str] = Counter()
    kept: list[Hit] = []
    over: list[Hit] = []
    for hit in hits:
        counts[hit.section.article] += 1
        (kept if counts[hit.section.article] <= most else over).append(hit)
    chosen = [*kept, *over][:limit]
    return sorted(chosen, key=lambda hit: -hit.score)


def _best_by_section(found: list[tuple[int, float]]) -> dict[int, float]:
    """The largest cosine of each section among (section, cosine) pairs."""
    best: dict[int, float] = {}
    for number, cosine in found:
        best[number] = max(best.get(number, -1.0), cosine)
    return best
