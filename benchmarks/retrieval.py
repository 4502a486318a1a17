"""Claim: the desk's search finds the answering section among five as often as the better of BM25 and plain vectors.

What is searched is `Retriever.search`, the very path of the desk. Beside it, in the same run and on the same embedder:
BM25 alone; vectors alone (Chroma, whole sections, as it comes); both by reciprocal rank fusion (Cormack et al. 2009,
k = 60), the usual hybrid; and the desk without earlier questions. Sets and which of them weights were chosen on:
`_retrieval_sets.py`. A set that is not there is said and counts as not holding.

    python benchmarks/retrieval.py --embedder FOLDER [--data ../shared/data] [--quick] [--rerank] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from _retrieval_sets import DATA, TUNED_ON, sets

from runtime.base.home import find_home
from runtime.bundle.generations import current_bundle
from runtime.errors import EdgedeskError
from runtime.evaluation.retrieval import Query
from runtime.retrieval.chroma_index import VectorIndex
from runtime.retrieval.chunks import with_heading
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article
from runtime.text.tokens import BM25

QUICK = ("shop zh", "bitcoin_faq_en", "bitcoin_faq_zh", "banking77")
PEERS = ("BM25", "vectors", "RRF")
RERANK = 0.25
"""Weight of the second look, with --rerank."""
BAR = {"shop_hit@5": 0.9, "sets_below_a_half": 0, "sets_3_points_above": 2}
DEPTH = 10
Search = Callable[[str], list[str]]
"""A question to the article ids found, best first."""


def searchers(
    articles: list[Article], asked: list[PastQuestion], embedder: Embedder, folder: Path, *, rerank: bool
) -> Iterator[tuple[str, Search]]:
    """The project and its peers on one corpus."""
    sections = [section for article in articles for section in article.sections]
    texts = [with_heading(section, section.text) for section in sections]
    lexical = BM25(texts)
    index = VectorIndex.open(folder / "peer", {}, ["all"] * len(texts), lambda: embedder.passages(texts))

    def ids(order: Iterable[int]) -> list[str]:
        return list(dict.fromkeys(sections[number].article for number in order))[:DEPTH]

    def by_words(question: str) -> list[int]:
        return [int(number) for number in np.argsort(-lexical.scores(question), kind="stable")]

    def by_vector(question: str) -> list[int]:
        return [near.row for near in index.nearest(embedder.queries([question])[0], 100, "all")]

    def fused(question: str) -> list[int]:
        score: dict[int, float] = {}
        for order in (by_words(question)[:100], by_vector(question)):
            for rank, number in enumerate(order):
                score[number] = score.get(number, 0.0) + 1 / (60 + rank)
        return sorted(score, key=lambda number: -score[number])

    yield "BM25", lambda question: ids(by_words(question))
    yield "vectors", lambda question: ids(by_vector(question))
    yield "RRF", lambda question: ids(fused(question))
    own: list[tuple[str, list[PastQuestion], float]] = [("edgedesk", asked, 0.0)]
    if asked:
        own.insert(0, ("no asked", [], 0.0))
    if rerank:
        own.append(("reranked", asked, RERANK))
    for name, before, weight in own:
        with Retriever.build(articles, embedder, folder / "own", asked=before, rerank=weight) as retriever:

            def search(question: str, retriever: Retriever = retriever) -> list[str]:
                hits = retriever.search(question, lang=None, limit=3 * DEPTH)
                return list(dict.fromkeys(hit.section.article for hit in hits))[:DEPTH]

            yield name, search
    index.close()


def measure(search: Search, queries: list[Query]) -> dict[str, float]:
    """hit@1/5/10, mean reciprocal rank and the times of one searcher."""
    ranks, times = [], []
    for query in queries:
        started = time.perf_counter()
        found = search(query.text)
        times.append((time.perf_counter() - started) * 1000)
        gold = {name.split("#")[0] for name in query.gold}
        ranks.append(next((rank for rank, name in enumerate(found, start=1) if name in gold), DEPTH + 1))
    out = {f"hit@{depth}": float(np.mean([rank <= depth for rank in ranks])) for depth in (1, 5, 10)}
    out["mrr"] = float(np.mean([1 / rank if rank <= DEPTH else 0.0 for rank in ranks]))
    return out | {"p50_ms": float(np.median(times)), "p95_ms": float(np.quantile(times, 0.95))}


def main() -> int:
    """Run it; 0 when the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", type=Path, help="embedder folder (default: the installed bundle's)")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rerank", action="store_true", help="also with a second look at the ten best")
    parser.add_argument("--quick", action="store_true", help="at most 40 questions of the sets with the least to embed")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    embedder = Embedder(options.embedder or current_bundle(find_home()).embedder_path)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    missing = []
    print(
        f"{'set':<18}{'n':>5}  {'search':<10}{'hit@1':>7}{'hit@5':>7}{'hit@10':>7}{'MRR':>7}{'p50 ms':>9}{'p95 ms':>8}"
    )
    for name, load in sets(options.data).items():
        if options.quick and name not in QUICK:
            continue
        try:
            articles, queries, asked = load()
        except EdgedeskError as error:
            missing.append(name)
            print(f"{name:<18} not there: {error}", file=sys.stderr)
            continue
        queries = queries[:: max(1, len(queries) // 40)] if options.quick else queries
        figures[name] = {}
        with tempfile.TemporaryDirectory() as folder:
            for peer, search in searchers(articles, asked, embedder, Path(folder), rerank=options.rerank):
                row = figures[name][peer] = measure(search, queries)
                print(
                    f"{name:<18}{len(queries):>5}  {peer:<10}"
                    f"{row['hit@1']:>7.3f}{row['hit@5']:>7.3f}{row['hit@10']:>7.3f}{row['mrr']:>7.3f}"
                    f"{row['p50_ms']:>9.1f}{row['p95_ms']:>8.1f}",
                    flush=True,
                )
    gains = {
        name: rows["edgedesk"]["hit@5"] - max(rows[half]["hit@5"] for half in ("BM25", "vectors"))
        for name, rows in figures.items()
    }
    below = [f"{name} {gain:+.3f}" for name, gain in gains.items() if gain < 0]
    shop = min((figures[name]["edgedesk"]["hit@5"] for name in figures if name.startswith("shop")), default=0.0)
    above = sum(gain >= 0.03 for gain in gains.values())
    holds = not missing and not below and shop >= BAR["shop_hit@5"] and above >= BAR["sets_3_points_above"]
    print("\nhit@5 less the better half's; * = weights were chosen on it")
    print("  " + ", ".join(f"{name}{'*' * (name in TUNED_ON)} {gain:+.3f}" for name, gain in gains.items()))
    if options.json:
        whole = {"sets": figures, "gains": gains, "shop_hit@5": shop, "below": below, "above": above}
        print(json.dumps({"name": "retrieval", "figures": whole, "bar": BAR, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
