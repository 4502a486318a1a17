"""How often retrieval finds the section that answers: hit@k, mean reciprocal rank, and the time a search takes.

Promises: the same retriever and questions give the same figures (times apart). Knows nothing of how sections are found.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from runtime.base.files import read_lines
from runtime.base.jsonl import read_rows
from runtime.errors import InputError
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article, Section, guess_language
from runtime.text.records import Question

DEPTH = 10


class Query(BaseModel):
    """A question and what answers it: article ids or `article#section` references, any of which counts.

    Held-out questions as `evaluate answers` takes them are queries too: their `question` and `evidence`. Columns that
    are no business of retrieval are ignored; `ignored_columns` names them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    id: str = ""
    text: str = Field(min_length=1, validation_alias=AliasChoices("text", "question"))
    gold: tuple[str, ...] = Field(min_length=1, validation_alias=AliasChoices("gold", "evidence"))


class Document(BaseModel):
    """A row of a public retrieval set's `corpus.jsonl`: a text without title or sections; more columns are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)

    def article(self, lang: str) -> Article:
        """As an article of one untitled section."""
        return Article(self.id, "", lang, (Section(self.id, "text", "", "", self.text, lang),))


def load_set(folder: Path) -> tuple[list[Article], list[Query]]:
    """A set kept as `corpus.jsonl` and `queries.jsonl` in one folder."""
    return load_files(folder / "corpus.jsonl", folder / "queries.jsonl")


def ignored_columns(path: Path, model: type[Query | Document]) -> list[str]:
    """The columns of a JSONL file that `model` does not read, in the order they first occur."""
    known = {"id", "text", *(("question", "gold", "evidence") if model is Query else ())}
    return list(dict.fromkeys(name for _, line in read_lines(path) for name in json.loads(line) if name not in known))


def load_files(corpus: Path, questions: Path) -> tuple[list[Article], list[Query]]:
    """A set's documents and queries; `InputError` when a query's gold is not in the corpus."""
    rows = list(read_rows(Document, corpus))
    # A set is in one language, even where a text of it is a piece of code.
    languages = Counter(guess_language(row.text) for row in rows).most_common(1)
    articles = [row.article(languages[0][0]) for row in rows]
    queries = list(read_rows(Query, questions))
    known = {article.id for article in articles}
    for number, query in enumerate(queries, start=1):
        if not known & {gold.split("#")[0] for gold in query.gold}:
            raise InputError(
                f"nothing in the corpus answers query '{query.id or number}'",
                where=f"{questions}, query {number}",
                hint=f"its gold is {', '.join(query.gold)[:80]}; the corpus has ids such as {next(iter(known))}",
            )
    return articles, queries


class EarlierRow(BaseModel):
    """A row of a file of earlier questions: a text and the ids of the documents that answered it."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    text: str = Field(min_length=1, validation_alias=AliasChoices("text", "question"))
    gold: tuple[str, ...] = Field(min_length=1, validation_alias=AliasChoices("gold", "evidence"))
    reply: str = ""


def load_earlier(path: Path, articles: Iterable[Article]) -> list[PastQuestion]:
    """Earlier questions about documents of `load_files`; `InputError` for a row that none of them answers."""
    sections = {article.id: article.sections[0] for article in articles}
    out = []
    for number, row in enumerate(read_rows(EarlierRow, path), start=1):
        known = [sections[gold] for gold in row.gold if gold in sections]
        if not known:
            raise InputError(
                f"nothing in the corpus answered earlier question {number}",
                where=f"{path}, row {number}",
                hint=f"its gold is {', '.join(row.gold)[:80]}; the corpus has ids such as {next(iter(sections), '')}",
            )
        refs = tuple(section.ref for section in known)
        out.append(PastQuestion(text=row.text, lang=known[0].lang, evidence=refs, reply=row.reply))
    return out


def from_questions(questions: Iterable[Question], *, sections: bool = False) -> list[Query]:
    """Held-out questions that have an answer, as queries for their article or, with `sections`, their very section."""
    return [
        Query(id=question.id, text=question.question, gold=gold)
        for question in questions
        if question.answerable
        and (gold := question.evidence if sections or not question.article else (question.article,))
    ]


def evaluate(
    retriever: Retriever, queries: Iterable[Query], *, progress: Callable[[int], None] | None = None
) -> dict[str, float]:
    """`hit@1`, `hit@5`, `hit@10`, `mrr` (all 0 to 1, to depth 10), `queries`, `p50_ms` and `p95_ms` of one search.

    hit@k: among the first k sections is one that is gold, or one of a gold article.
    """
    ranks: list[int] = []
    times: list[float] = []
    for count, query in enumerate(queries, start=1):
        started = time.perf_counter()
        hits = retriever.search(query.text, lang=None, limit=DEPTH)
        times.append((time.perf_counter() - started) * 1000)
        gold = set(query.gold)
        ranks.append(
            next(
                (rank for rank, hit in enumerate(hits, start=1) if {hit.section.article, hit.section.ref} & gold),
                0,
            )
        )
        if progress:
            progress(count)
    if not ranks:
        raise InputError("no question to evaluate", hint="give at least one")
    out = {f"hit@{k}": round(sum(0 < rank <= k for rank in ranks) / len(ranks), 4) for k in (1, 5, 10)}
    times.sort()
    return out | {
        "mrr": round(sum(1 / rank for rank in ranks if rank) / len(ranks), 4),
        "queries": len(ranks),
        "p50_ms": round(times[len(times) // 2], 1),
        "p95_ms": round(times[min(len(times) - 1, int(len(times) * 0.95))], 1),
    }
