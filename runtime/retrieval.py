"""Finds the sections that answer a question: vectors in Chroma, words in BM25, one weighted score.

    score = z(cosine of the best piece) + w · z(BM25)      z over the candidates of this question

A long section is embedded in overlapping pieces and counts by its best one. The index is a cache of the articles:
keyed by them and by the embedder, checked byte by byte before it is used, made again when missing, stale or damaged.
Each process searches a private copy, because Chroma writes into its files even when it only reads, and two processes
on one folder corrupt it. Knows nothing of prompts and conversations.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.articles import Article, Section, guess_language, load_articles
from runtime.embedder import Embedder, Progress
from runtime.errors import IntegrityError, MissingError
from runtime.lexical import BM25
from runtime.manifest import digest, stage, verify
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
_FORMAT = 1
_COLLECTION = "pieces"


@dataclass(frozen=True)
class Hit:
    """A section found: `score` ranks within one search, `similarity` (cosine, -1 to 1) compares between searches."""

    section: Section
    score: float
    similarity: float


class Retriever:
    """The articles of one bundle, ready to be searched. Safe to search from several threads; close it when done."""

    def __init__(self, articles: Sequence[Article], embedder: Embedder, live: tempfile.TemporaryDirectory[str]) -> None:
        """Use `open` or `build`."""
        self.articles = tuple(articles)
        self.embedder = embedder
        self.weight = LEXICAL_WEIGHT
        self._sections = [section for article in articles for section in article.sections]
        self._owners = [article for article in articles for _ in article.sections]
        self._languages = {article.lang for article in articles}
        self._by_id = {(article.id, article.lang): article for article in articles}
        self._lexical = BM25([f"{section.title} {section.heading} {section.text}" for section in self._sections])
        self._pieces: dict[int, list[str]] = {}
        for identity, number, _ in _cut(self._sections):
            self._pieces.setdefault(number, []).append(identity)
        self._live = live
        self._client = _client(Path(live.name))
        self._collection = self._client.get_collection(_COLLECTION, embedding_function=None)

    @classmethod
    def open(
        cls, bundle: Bundle, index_dir: Path, *, threads: int = 2, progress: Progress | None = None
    ) -> Retriever:
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
        inputs = {
            "format": _FORMAT,
            "chromadb": _chroma_version(),
            "embedder": embedder.fingerprint,
            "piece_terms": PIECE_TERMS,
            "sections": digest([asdict(section) for section in sections]),
        }

        def work(folder: Path) -> Mapping[str, Any]:
            return _write_index(folder, sections, embedder, progress)

        index_dir.mkdir(parents=True, exist_ok=True)
        with _lock(index_dir / ".lock"):
            _sweep(index_dir)
            try:
                live = _copy_index(index_dir, inputs, work, force=False)
            except IntegrityError:
                live = _copy_index(index_dir, inputs, work, force=True)
            return cls(articles, embedder, live)

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
            for number, (article, section) in enumerate(zip(self._owners, self._sections, strict=True))
            if article.lang in only and article.valid_on(day) and (internal or section.audience == "public")
        ]
        if not allowed or limit < 1:
            return []
        words = self._lexical.scores(question)[allowed]
        vector = self.embedder.queries([question])[0]
        similarity = self._similarities(vector, allowed, words)
        numbers = np.array(sorted(similarity))
        cosine = np.array([similarity[number] for number in numbers])
        lexical = words[np.searchsorted(np.array(allowed), numbers)]
        score = _z(cosine) + self.weight * _z(lexical)
        hits: dict[str, Hit] = {}
        for index in np.lexsort((numbers, -score)):
            section = self._sections[numbers[index]]
            hits.setdefault(section.ref, Hit(section, float(score[index]), float(cosine[index])))
            if len(hits) == limit:
                break
        return list(hits.values())

    def article(self, identity: str, lang: str | None = None) -> Article:
        """An article by its id, in `lang` if it is written in it, else in any language; `MissingError` if there is none."""
        if found := self._by_id.get((identity, lang or "")):
            return found
        for article in self.articles:
            if article.id == identity:
                return article
        raise MissingError(f"no article '{identity}'", hint="ids are listed in the bundle's articles folder")

    def close(self) -> None:
        """Let go of the index copy and delete it."""
        self._client.close()
        self._live.cleanup()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _similarities(
        self, vector: NDArray[np.float32], allowed: list[int], words: NDArray[np.float32]
    ) -> dict[int, float]:
        """Cosine of the best piece, for the sections nearest by vector and for those nearest by words."""
        import numpy as np

        best: dict[int, float] = {}
        permitted = set(allowed)
        found = self._collection.query(
            query_embeddings=vector[None],
            n_results=min(CANDIDATES, sum(len(self._pieces[number]) for number in allowed)),
            where=None if len(allowed) == len(self._sections) else {"section": {"$in": allowed}},
            include=["distances", "metadatas"],
        )
        for meta, distance in zip(found["metadatas"][0], found["distances"][0], strict=True):
            if (number := int(meta["section"])) in permitted:
                best[number] = max(best.get(number, -1.0), 1.0 - float(distance))
        by_words = np.argsort(-words, kind="stable")[:CANDIDATES]
        missing = [allowed[index] for index in by_words if words[index] > 0 and allowed[index] not in best]
        if missing:
            ids = [identity for number in missing for identity in self._pieces[number]]
            rows = self._collection.get(ids=ids, include=["embeddings", "metadatas"])
            for meta, cosine in zip(rows["metadatas"], np.asarray(rows["embeddings"]) @ vector, strict=True):
                number = int(meta["section"])
                best[number] = max(best.get(number, -1.0), float(cosine))
        return best


def _z(values: NDArray[Any]) -> NDArray[np.float64]:
    """Values in standard deviations from their mean; zeros when they are all alike."""
    import numpy as np

    wide = values.astype(np.float64)
    spread = wide.std()
    return (wide - wide.mean()) / spread if spread > 1e-9 else np.zeros_like(wide)


def _cut(sections: Sequence[Section]) -> Iterator[tuple[str, int, str]]:
    """(id, section number, text) of every piece; the title and heading go with each, they say what `it` is."""
    for number, section in enumerate(sections):
        head = ": ".join(dict.fromkeys(part for part in (section.title, section.heading) if part))
        for index, piece in enumerate(pieces(section.text, PIECE_TERMS)):
            yield f"{number}.{index}", number, f"{head}\n{piece}" if head else piece


def _write_index(
    folder: Path, sections: Sequence[Section], embedder: Embedder, progress: Progress | None
) -> Mapping[str, Any]:
    cut = list(_cut(sections))
    vectors = embedder.passages([text for _, _, text in cut], progress)
    client = _client(folder)
    try:
        collection = client.create_collection(
            _COLLECTION, embedding_function=None, configuration={"hnsw": {"space": "cosine", "ef_search": 2 * CANDIDATES}}
        )
        step = min(1000, client.get_max_batch_size())
        for start in range(0, len(cut), step):
            rows = cut[start : start + step]
            collection.add(
                ids=[identity for identity, _, _ in rows],
                embeddings=vectors[start : start + step],
                metadatas=[{"section": number} for _, number, _ in rows],
            )
    finally:
        client.close()  # flushes; only then may the files be hashed
    return {"pieces": len(cut), "sections": len(sections)}


def _copy_index(
    index_dir: Path, inputs: Mapping[str, Any], work: Any, *, force: bool
) -> tempfile.TemporaryDirectory[str]:
    """Make the index if need be, copy it, and check the copy: the bytes Chroma will read are the bytes checked."""
    folder = index_dir / "sections"
    manifest, _ = stage(folder, "index", inputs, work, force=force)
    live = tempfile.TemporaryDirectory(prefix="live-", dir=index_dir, ignore_cleanup_errors=True)
    try:
        shutil.copytree(folder, live.name, dirs_exist_ok=True)
        verify(Path(live.name), manifest)
    except BaseException:
        live.cleanup()
        raise
    return live


def _sweep(index_dir: Path) -> None:
    """Delete the copies that killed processes left: those whose process no longer holds the folder."""
    for folder in index_dir.glob("live-*"):
        if not _held(folder):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Wait for whoever is making the index: it takes seconds, and then it is there for both."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _client(folder: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))


def _chroma_version() -> str:
    from importlib.metadata import version

    return version("chromadb")
