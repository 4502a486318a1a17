"""Claim: vectors with a light touch of BM25 find the answering section as often as the better one and rank it as high.

The project also searches the shop's example questions (cases/*.toml, never the held-out ones) as `asked` before.
Peers, in the same run, on the same embedder: BM25 alone; Chroma alone (whole sections, cosine, as it comes);
both by reciprocal rank fusion (Cormack et al. 2009, k = 60), the usual hybrid. Sets: the example shop's held-out
questions in both languages, and the public sets of a folder given by --data. A set that is not there is said and counts
as not holding.

    python benchmarks/retrieval.py --embedder FOLDER [--data ../shared/data/retrieval] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from runtime.base.home import find_home
from runtime.base.jsonl import read_rows
from runtime.bundle.generations import current_bundle
from runtime.errors import EdgedeskError
from runtime.evaluation.retrieval import Query, from_questions, load_set
from runtime.retrieval.chroma_index import VectorIndex
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article, load_articles
from runtime.text.records import Question
from runtime.text.tokens import BM25

SHOP = Path(__file__).parents[1] / "examples" / "shop"
PEERS = ("BM25", "Chroma", "RRF")
RERANK = 0.25
"""Weight of the second look."""
PUBLIC = ("bitcoin_faq_en", "bitcoin_faq_zh", "egret_zh")
BAR = {"shop_hit@5": 0.9, "mean_hit@5_over_best_peer": 1.0, "sets_below_a_peer": 0}
DEPTH = 10
Search = Callable[[str], list[str]]
"""A question to the article ids found, best first."""


def shop_set(lang: str) -> tuple[list[Article], list[Query]]:
    """The example shop's articles and its hand-written questions."""
    questions = [row for path in sorted((SHOP / lang).glob("questions*.jsonl")) for row in read_rows(Question, path)]
    return load_articles(SHOP / lang / "articles"), from_questions(questions)


def shop_asked(lang: str) -> list[PastQuestion]:
    """The questions written into the shop's cases, without their slots."""
    out = []
    for path in sorted((SHOP / lang / "cases").glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
            out += [
                PastQuestion(text=re.sub(r" ?\{\w+\}", "", ask), lang=lang, evidence=case["evidence"])
                for ask in case["ask"]
            ]
    return out


def searchers(
    articles: list[Article], asked: list[PastQuestion], embedder: Embedder, folder: Path
) -> Iterator[tuple[str, Search]]:
    """The project and its peers on one corpus."""
    sections = [section for article in articles for section in article.sections]
    texts = [f"{section.title} {section.heading}\n{section.text}".strip() for section in sections]
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
    yield "Chroma", lambda question: ids(by_vector(question))
    yield "RRF", lambda question: ids(fused(question))
    for name, before, rerank in (("no asked", [], 0.0), ("edgedesk", asked, 0.0), ("reranked", asked, RERANK)):
        with Retriever.build(articles, embedder, folder / "own", asked=before, rerank=rerank) as retriever:

            def own(question: str, retriever: Retriever = retriever) -> list[str]:
                hits = retriever.search(question, lang=None, limit=3 * DEPTH)
                return list(dict.fromkeys(hit.section.article for hit in hits))[:DEPTH]

            yield name, own
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
    parser.add_argument("--data", type=Path, default=SHOP.parents[2] / "shared" / "data" / "retrieval")
    parser.add_argument("--quick", action="store_true", help="at most 40 questions a set")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    embedder = Embedder(options.embedder or current_bundle(find_home()).embedder_path)
    sources: dict[str, Callable[[], tuple[list[Article], list[Query]]]] = {
        "shop en": lambda: shop_set("en"),
        "shop zh": lambda: shop_set("zh"),
        **{name: (lambda name=name: load_set(options.data / name)) for name in PUBLIC},  # type: ignore[misc]
    }
    figures: dict[str, dict[str, dict[str, float]]] = {}
    missing = []
    print(
        f"{'set':<16}{'n':>5}  {'search':<10}{'hit@1':>7}{'hit@5':>7}{'hit@10':>7}{'MRR':>7}{'p50 ms':>9}{'p95 ms':>8}"
    )
    for name, load in sources.items():
        try:
            articles, queries = load()
        except EdgedeskError as error:
            missing.append(name)
            print(f"{name:<16} not there: {error}", file=sys.stderr)
            continue
        queries = queries[:: max(1, len(queries) // 40)] if options.quick else queries
        asked = shop_asked(name[-2:]) if name.startswith("shop") else []
        figures[name] = {}
        with tempfile.TemporaryDirectory() as folder:
            for peer, search in searchers(articles, asked, embedder, Path(folder)):
                row = figures[name][peer] = measure(search, queries)
                print(
                    f"{name:<16}{len(queries):>5}  {peer:<10}"
                    f"{row['hit@1']:>7.2f}{row['hit@5']:>7.2f}{row['hit@10']:>7.2f}{row['mrr']:>7.3f}"
                    f"{row['p50_ms']:>9.1f}{row['p95_ms']:>8.1f}"
                )
    means = {peer: float(np.mean([figures[name][peer]["hit@5"] for name in figures])) for peer in (*PEERS, "edgedesk")}
    ratio = means["edgedesk"] / max(means[peer] for peer in PEERS)
    below = [
        f"{name} {figure}"
        for name, rows in figures.items()
        for figure in ("hit@5", "mrr")
        if rows["edgedesk"][figure] < max(rows[peer][figure] for peer in ("BM25", "Chroma"))
    ]
    shop = min((figures[name]["edgedesk"]["hit@5"] for name in figures if name.startswith("shop")), default=0.0)
    holds = not missing and not below and ratio >= BAR["mean_hit@5_over_best_peer"] and shop >= BAR["shop_hit@5"]
    print(f"\nmean hit@5: {', '.join(f'{peer} {value:.3f}' for peer, value in means.items())}; ratio {ratio:.3f}")
    print(f"below BM25 or vectors: {', '.join(below) or 'nowhere'}")
    if options.json:
        whole = {
            "sets": figures,
            "mean_hit@5": means,
            "mean_hit@5_over_best_peer": ratio,
            "shop_hit@5": shop,
            "below": below,
        }
        print(json.dumps({"name": "retrieval", "figures": whole, "bar": BAR, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
