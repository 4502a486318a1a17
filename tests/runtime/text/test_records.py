from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.base.jsonl import parse_rows, read_rows, write_rows
from runtime.errors import InputError, SpaceError
from runtime.text.records import Question, Record, Turn

ROW: dict[str, Any] = {
    "id": "r1",
    "conversation": "c1",
    "turn": 0,
    "lang": "zh",
    "context": [{"role": "user", "content": "你好"}],
    "query": "我能退货吗？",
    "response": "可以，30天内。",
    "evidence": ["returns-window#how-long"],
    "source": "simulated",
    "split": "train",
}


def write(path: Path, *rows: Any) -> Path:
    text = "".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


words = st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1)
records = st.builds(
    Record,
    id=words,
    conversation=words,
    turn=st.integers(0, 99),
    lang=st.sampled_from(["en", "zh"]),
    context=st.lists(st.builds(Turn, role=st.sampled_from(["user", "assistant"]), content=words), max_size=3).map(
        tuple
    ),
    query=words,
    response=words,
    intent=st.none() | words,
    emotion=st.sampled_from([None, "calm", "angry"]),
    entities=st.dictionaries(words, words, max_size=2),
    evidence=st.lists(words, max_size=2).map(tuple),
    source=st.sampled_from(["transcript", "journal"]),
    split=st.sampled_from(["train", "test"]),
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.lists(records, min_size=1, max_size=5))
def test_records_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list[Record]) -> None:
    path = tmp_path_factory.mktemp("rows") / "记录.jsonl"
    assert write_rows(path, rows) == len(rows)
    assert list(read_rows(Record, path)) == rows


@pytest.mark.parametrize("column", ["id", "conversation", "turn", "lang", "query", "response", "source", "split"])
def test_a_missing_column_is_named_with_file_and_line(tmp_path: Path, column: str) -> None:
    row = {key: value for key, value in ROW.items() if key != column}
    path = write(tmp_path / "r.jsonl", ROW, "\n", row)
    with pytest.raises(InputError, match=f"column '{column}' is missing") as caught:
        list(read_rows(Record, path))
    assert caught.value.where == f"{path}:3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": ""}, "column 'query'"),
        ({"lang": "Chinese"}, "column 'lang'"),
        ({"emotion": "bored"}, "column 'emotion'"),
        ({"turn": -1}, "column 'turn'"),
        ({"colour": "red"}, "unknown column 'colour'"),
        ({"context": [{"role": "system", "content": "x"}]}, "column 'context\\[0\\].role'"),
        ({"evidence": "a#b"}, "column 'evidence'"),
        ({"query": 7, "response": 7}, "and 1 more"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_naming_the_column(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        list(read_rows(Record, write(tmp_path / "r.jsonl", {**ROW, **change})))


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "null", "42", '"text"', "not json", '{"id": NaN}', "[" * 5000, "1" * 5000],
    ids=lambda line: line[:12],
)
def test_a_row_that_is_no_object_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError) as caught:
        list(read_rows(Record, write(tmp_path / "r.jsonl", line + "\n")))
    assert caught.value.where.endswith(":1")


def test_refused_rows_can_be_counted_and_the_rest_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", ROW, "oops\n", {**ROW, "id": "r2"}, {"id": "r3"})
    results = list(parse_rows(Record, path))
    assert [number for number, _ in results] == [1, 2, 3, 4]
    assert [isinstance(row, Record) for _, row in results] == [True, False, True, False]


def test_half_an_emoji_is_refused_where_it_stands_and_not_when_it_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", json.dumps({**ROW, "query": "x\ud83d"}) + "\n")
    with pytest.raises(InputError) as caught:
        list(read_rows(Record, path))
    assert caught.value.where == f"{path}:1"


def test_a_write_that_fails_leaves_the_old_rows(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write_rows(path, [Record.model_validate(ROW)])
    before = path.read_bytes()

    def rows():  # type: ignore[no-untyped-def]
        yield Record.model_validate(ROW)
        raise OSError(28, "No space left on device")

    with pytest.raises(SpaceError):
        write_rows(path, rows())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_question_is_a_row_too(tmp_path: Path) -> None:
    row = {"id": "zh-1", "lang": "zh", "question": "几天？", "facts": [["30天", "三十天"]], "evidence": ["a#b"]}
    question = next(read_rows(Question, write(tmp_path / "q.jsonl", row)))
    assert question.facts == (("30天", "三十天"),)
    assert question.answerable
