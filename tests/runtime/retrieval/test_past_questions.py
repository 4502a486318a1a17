from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.base.jsonl import write_rows
from runtime.errors import InputError
from runtime.retrieval.past_questions import ASKED_FILE, PastQuestion, read_past_questions, select_past_questions
from runtime.text.records import Record, Turn


def record(query: str, **change: Any) -> Record:
    row: dict[str, Any] = {
        "id": query, "conversation": query, "turn": 0, "lang": "zh", "query": query, "response": "好。",
        "evidence": ("returns#how-long",), "source": "simulated", "split": "train",
    }  # fmt: skip
    return Record(**{**row, **change})


def test_only_first_questions_of_training_records_with_evidence_are_taken() -> None:
    records = [
        record("能退吗？"),
        record("held out", split="test"),
        record("valid", split="valid"),
        record("那要多久？", context=(Turn(role="user", content="能退吗？"),)),
        record("no evidence", evidence=()),
    ]
    assert select_past_questions(records) == [
        PastQuestion(text="能退吗？", lang="zh", evidence=("returns#how-long",), reply="好。")
    ]


def test_a_question_is_taken_once_and_a_section_has_no_more_than_its_share() -> None:
    """Part of S8: the cap."""
    records = [record("Can I?"), record("can  i?"), *(record(f"question {n}") for n in range(99))]
    assert len(select_past_questions(records, most=5)) == 5
    assert [asked.text for asked in select_past_questions(records, most=5)][:2] == ["Can I?", "question 0"]


def test_a_bundle_carries_them_or_does_not(tmp_path: Path) -> None:
    assert read_past_questions(tmp_path) == []
    asked = select_past_questions([record("能退吗？")])
    write_rows(tmp_path / ASKED_FILE, asked)
    assert read_past_questions(tmp_path) == asked


@pytest.mark.parametrize("line", ["", "{}", '{"text": "x", "lang": "zh", "evidence": []}'])
def test_a_malformed_file_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / ASKED_FILE).write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError):
        read_past_questions(tmp_path)
