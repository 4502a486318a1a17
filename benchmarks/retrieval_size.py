"""Claim: a search takes at most 40 ms (p95) among 1,000 articles on two cores, and stays usable among 100,000 sections.

Sections are put together out of the example shop's sentences, four each, and get the mean of these sentences' vectors
and a little noise, since embedding 100,000 would take half an hour and change no time measured here. Everything else is
what a branch runs: Chroma on disk, BM25, the encoder on each question, the weighing. 1,000 articles have 3,000 earlier
questions beside them. Questions are the shop's hand-written ones, in both languages. There is no peer to run.

    python benchmarks/retrieval_size.py [--embedder FOLDER] [--sizes 1000 100000] [--quick] [--json]

Some six minutes, nearly all of them making the larger index, which a branch does once an update. `--quick` takes 1,000.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _harness import SHOP, Bar, Run, begin, main, quantile

from runtime.base.home import find_home
from runtime.base.jsonl import read_rows
from runtime.base.progress import ProgressCallback, say
from runtime.bundle.generations import current_bundle
from runtime.engine.process.engine_child import anonymous_bytes
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article, Section, load_articles
from runtime.text.records import Question
from runtime.text.sentences import sentences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BARS = {"p95_ms, 1,000": Bar(most=40), "p95_ms, 100,000": Bar(most=1000)}
LANGS = ("en", "zh")
NOISE = 0.02
"""Length of what is added to a unit vector, so that no two are the same."""
ASKED = 3000
QUESTIONS = 200


class Composed(Embedder):
    """The bundle's encoder for questions; passages get the mean of their sentences' vectors."""

    def learn(self, known: Sequence[str]) -> None:
        """Embed the sentences."""
        self._known = dict(zip(known, super().passages(known), strict=True))
        self._made: dict[str, Sequence[str]] = {}

    def compose(self, text: str, of: Sequence[str]) -> None:
        """Remember what a passage is made of."""
        self._made[text] = of

    def passages(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> NDArray[np.float32]:
        """Unit vectors [n, dim]."""
        import numpy as np

        del progress
        rng = np.random.default_rng(7)
        out = np.empty((len(texts), self.spec.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = np.mean([self._known[one] for one in self._made[text]], axis=0)
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        out += NOISE * rng.standard_normal(out.shape, dtype=np.float32) / self.spec.dim**0.5
        unit: NDArray[np.float32] = out / np.linalg.norm(out, axis=1, keepdims=True)
        return unit


def corpus(
    size: int, embedder: Composed, pool: dict[str, list[str]], asked: int
) -> tuple[list[Article], list[PastQuestion]]:
    """So many articles of one section, half of them in each language, and questions they answered before."""
    rng = random.Random(7)  # noqa: S311 - a draw, no secret
    articles, before = [], []
    for number in range(size):
        lang = LANGS[number % len(LANGS)]
        parts = rng.sample(pool[lang], 4)
        name = f"{'Notice' if lang == 'en' else '通知'} {number}"
        section = Section(f"n{number}", "s", name, "", " ".join(parts), lang)
        embedder.compose(f"{name}\n{section.text}", parts)
        articles.append(Article(section.article, name, lang, (section,)))
    for number in range(asked):
        of = articles[number % size]
        one = rng.choice(pool[of.lang])
        text = f"{one} ({number})"
        embedder.compose(text, [one])
        before.append(PastQuestion(text=text, lang=of.lang, evidence=(of.sections[0].ref,)))
    return articles, before


def work(run: Run) -> None:
    """Build, open, search."""
    options = run.options
    embedder = Composed(options.embedder or current_bundle(find_home()).embedder_path, threads=options.threads)
    pool = {
        lang: list(
            dict.fromkeys(
                sentence
                for article in load_articles(SHOP / lang / "articles")
                for section in article.sections
                for sentence in sentences(section.text)
            )
        )
        for lang in LANGS
    }
    embedder.learn([sentence for known in pool.values() for sentence in known])
    files = [path for lang in LANGS for path in sorted((SHOP / lang).glob("questions*.jsonl"))]
    questions = [row for path in files for row in read_rows(Question, path)]
    random.Random(7).shuffle(questions)  # noqa: S311
    run.row("sections", "index made", "opened", "memory", "p50", "p95", "worst")
    for size in options.sizes[:1] if options.quick else options.sizes:
        asked = ASKED if size <= 10_000 else 0
        articles, before = corpus(size, embedder, pool, asked)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "index"
            say(f"making the index of {size:,} sections")
            began = time.perf_counter()
            Retriever.build(articles, embedder, folder, asked=before).close()
            made = time.perf_counter() - began
            memory, began = anonymous_bytes(os.getpid()), time.perf_counter()
            with Retriever.build(articles, embedder, folder, asked=before) as retriever:
                opened, times = time.perf_counter() - began, []
                retriever.search(questions[0].question, lang=None, limit=5)
                for row in questions[:QUESTIONS]:
                    began = time.perf_counter()
                    retriever.search(row.question, lang=row.lang, limit=5)
                    times.append(1000 * (time.perf_counter() - began))
                grown = anonymous_bytes(os.getpid()) - memory
        run.figures[f"p95_ms, {size:,}"] = round(quantile(times, 0.95), 1)
        run.details[f"{size:,}"] = {"made_s": made, "opened_s": opened, "memory_mb": grown / 1e6, "asked": asked}
        cells = [f"{quantile(times, 0.5):.1f} ms", f"{quantile(times, 0.95):.1f} ms", f"{max(times):.0f} ms"]
        run.row(f"{size:,}", f"{made:.0f} s", f"{opened:.1f} s", f"{grown / 1e6:.0f} MB", *cells)


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--embedder", type=Path, help="an embedder folder (default: the installed bundle's)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000], help="sections of each corpus")


if __name__ == "__main__":
    sys.exit(main(begin("retrieval_size", __doc__, BARS, options), work))
