"""Labelled questions of any company are read right, or refused by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.classifiers.intent_training import Example
from distill.classifiers.labelled_files import read_examples
from runtime.errors import InputError

TWO = [Example("Where, please?", "delivery"), Example("退货", "returns")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'text,label\n"Where, please?",delivery\n退货,returns\n'),
        ("a.CSV", 'text,label\r\n"Where, please?",delivery\r\n退货,returns\r\n'),
        ("swapped.csv", 'label,text\ndelivery,"Where, please?"\nreturns,退货\n'),
        ("european.csv", "question;intent\nWhere, please?;delivery\n退货;returns\n"),
        ("sep.csv", "sep=;\ntext;label\nWhere, please?;delivery\n退货;returns\n"),
        ("a.tsv", "Text\tCategory\nWhere, please?\tdelivery\n退货\treturns\n"),
        ("more.csv", 'id,text,lang,label\n1,"Where, please?",en,delivery\n2,退货,zh,returns\n\n'),
        ("chinese.csv", '问题,意图\n"Where, please?",delivery\n退货,returns\n'),
        ("bom.csv", '\ufefftext,label\n"Where, please?",delivery\n退货,returns\n'),
        ("a.jsonl", '{"text": "Where, please?", "label": "delivery"}\n{"text": "退货", "label": "returns"}\n'),
    ],
)
def test_labelled_file_is_read_as_programs_write_it(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert list(read_examples(tmp_path / name)) == TWO


def test_labelled_file_keeps_line_breaks_of_a_quoted_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"Hello.\nWhere is it?",delivery\nNow?,delivery\n', encoding="utf-8")
    assert [example.text for example in read_examples(path)] == ["Hello.\nWhere is it?", "Now?"]


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("headless.csv", "Where is it?,delivery\nNow?,delivery\n", 1, "names no columns"),
        ("twice.csv", "text,text\na,b\n", 1, "names no columns"),
        ("empty.csv", "", 1, "empty|names no columns"),
        ("gap.csv", 'text,label\n"a\nb",x\nc,\n', 4, "not a text and a label"),
        ("short.csv", "text,label\na\n", 2, "not a text and a label"),
        ("quotes.csv", 'text,label\n"a,b\n', 2, "not CSV"),
        ("a.jsonl", '{"text": "退货", "label": "returns"}\n{"text": "x"}\n', 2, "not a text and a label"),
        ("list.jsonl", "[1, 2]\n", 1, "not a text and a label"),
    ],
)
def test_labelled_file_that_cannot_be_read_is_refused_by_file_and_line(
    name: str, text: str, line: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said) as error:
        list(read_examples(tmp_path / name))
    if text:
        assert error.value.where.endswith(f"{name}:{line}")
