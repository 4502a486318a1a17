from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.evaluation.retrieval import (
    Document,
    Query,
    evaluate,
    from_questions,
    ignored_columns,
    load_earlier,
    load_set,
)
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import load_articles
from runtime.text.records import Question


@pytest.fixture(scope="module")
def retriever(
    articles_folder: Path, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Retriever]:
    with Retriever.build(load_articles(articles_folder), embedder, tmp_path_factory.mktemp("index")) as made:
        yield made


def test_figures_count_what_was_found_where(retriever: Retriever) -> None:
    queries = [
        Query(id="1", text="Standard delivery costs €4.90 and is free from €60.", gold=("delivery-standard",)),
        Query(id="2", text="标准配送费为4.90欧元，满60欧元免运费。", gold=("delivery-standard#price",)),
        Query(id="3", text="Standard delivery costs €4.90 and is free from €60.", gold=("nothing",)),
    ]
    found = evaluate(retriever, queries)
    assert found["hit@1"] == found["hit@10"] == found["mrr"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["queries"] == 3
    assert 0 < found["p50_ms"] <= found["p95_ms"]


def test_progress_is_counted_and_nothing_to_ask_is_an_error(retriever: Retriever) -> None:
    seen: list[int] = []
    evaluate(retriever, [Query(id="1", text="退货", gold=("returns-window",))] * 3, progress=seen.append)
    assert seen == [1, 2, 3]
    with pytest.raises(InputError):
        evaluate(retriever, [])


def test_held_out_questions_become_queries_for_article_or_section() -> None:
    questions = [
        Question(id="1", lang="en", question="How long?", article="a", evidence=("a#b",)),
        Question(id="2", lang="zh", question="多久？", evidence=("c#d",)),
        Question(id="3", lang="en", question="Do you sell cars?", answerable=False),
    ]
    assert [query.gold for query in from_questions(questions)] == [("a",), ("c#d",)]
    assert [query.gold for query in from_questions(questions, sections=True)] == [("a#b",), ("c#d",)]


def test_a_public_set_is_read_and_a_gold_that_leads_nowhere_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": "d1", "text": "比特币是货币。"}\n', encoding="utf-8")
    (tmp_path / "queries.jsonl").write_text(
        '{"id": "q1", "text": "什么是比特币？", "gold": ["d1"]}\n', encoding="utf-8"
    )
    articles, queries = load_set(tmp_path)
    assert (articles[0].lang, articles[0].sections[0].ref, queries[0].gold) == ("zh", "d1#text", ("d1",))
    (tmp_path / "queries.jsonl").write_text('{"id": "q1", "text": "x", "gold": ["d9"]}\n', encoding="utf-8")
    with pytest.raises(InputError, match="q1"):
        load_set(tmp_path)


def test_documents_without_a_title_are_found(embedder: Embedder, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(
        '{"id": "d1", "text": "比特币是一种货币。"}\n{"id": "d2", "text": "The kettle boils water."}\n',
        encoding="utf-8",
    )
    (tmp_path / "queries.jsonl").write_text(
        '{"id": "q1", "text": "比特币是什么货币？", "gold": ["d1"]}\n'
        '{"id": "q2", "text": "Which kettle boils?", "gold": ["d2"]}\n',
        encoding="utf-8",
    )
    articles, queries = load_set(tmp_path)
    with Retriever.build(articles, embedder, tmp_path / "index") as retriever:
        assert evaluate(retriever, queries)["hit@1"] == 1.0


def test_retrieval_set_with_further_columns_is_read_and_they_are_named(tmp_path: Path) -> None:
    """B8: question files of any program, and the held-out questions of `evaluate answers`."""
    (tmp_path / "corpus.jsonl").write_text(
        '{"id": "d1", "text": "比特币是货币。", "url": "x", "title": "y"}\n', encoding="utf-8"
    )
    (tmp_path / "queries.jsonl").write_text(
        '{"id": "1", "text": "什么是比特币？", "gold": ["d1"], "difficulty": 3}\n'
        '{"question": "What is it?", "evidence": ["d1#text"], "lang": "en", "facts": [["money"]]}\n',
        encoding="utf-8",
    )
    _, queries = load_set(tmp_path)
    assert [(one.text, one.gold) for one in queries] == [("什么是比特币？", ("d1",)), ("What is it?", ("d1#text",))]
    assert ignored_columns(tmp_path / "corpus.jsonl", Document) == ["url", "title"]
    assert ignored_columns(tmp_path / "queries.jsonl", Query) == ["difficulty", "lang", "facts"]


@pytest.mark.parametrize(("row", "column"), [('{"text": "x"}', "gold"), ('{"gold": ["d1"]}', "text")])
def test_retrieval_set_without_a_needed_column_names_it(tmp_path: Path, row: str, column: str) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": "d1", "text": "x"}\n')
    (tmp_path / "queries.jsonl").write_text(row)
    with pytest.raises(InputError, match=f"'{column}' is missing"):
        load_set(tmp_path)


@pytest.mark.parametrize(
    ("lang", "asks", "tells"),
    [("en", "do you take it back", "Open from 9 am to 6 pm."), ("zh", "不想要了怎么办", "营业时间为9点到18点。")],
)
def test_earlier_questions_take_part_in_what_is_measured(
    embedder: Embedder, tmp_path: Path, lang: str, asks: str, tells: str
) -> None:
    texts = {"right": tells, "other": tells}
    rows = "".join(f'{{"id": "{name}", "text": "{text}"}}\n' for name, text in texts.items())
    (tmp_path / "corpus.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "queries.jsonl").write_text(f'{{"text": "{asks}", "gold": ["other"]}}\n', encoding="utf-8")
    earlier = tmp_path / "earlier.jsonl"
    earlier.write_text(f'{{"question": "{asks}", "evidence": ["other"]}}\n', encoding="utf-8")
    articles, queries = load_set(tmp_path)
    before = load_earlier(earlier, articles)
    assert [(one.lang, one.evidence) for one in before] == [(lang, ("other#text",))]
    with Retriever.build(articles, embedder, tmp_path / "index", asked=before) as retriever:
        assert evaluate(retriever, queries)["hit@1"] == 1
    earlier.write_text('{"text": "?", "gold": ["nothing"]}\n', encoding="utf-8")
    with pytest.raises(InputError, match="earlier question 1"):
        load_earlier(earlier, articles)
