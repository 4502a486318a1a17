"""`edgedesk evaluate` as it is typed: answers of an installed bundle, a page, a sheet for people, their marks."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import ExitCode
from tests.support.paths import ROOT

QUESTIONS = [
    {"id": "1", "lang": "en", "question": "How long can I return most items?", "evidence": ["returns-window#how-long"],
     "facts": [["30 days"]], "intent": "return_inquiry", "reference": "Within 30 days of delivery."},
    {"id": "2", "lang": "zh", "question": "大多数商品多久可以退？", "evidence": ["returns-window#how-long"],
     "facts": [["30天"]]},
    {"id": "3", "lang": "zh", "question": "卖自行车吗？", "answerable": False},
    {"id": "4", "lang": "en", "question": "I want a human agent", "hand_off": True},
]  # fmt: skip


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "edgedesk.py"), "evaluate", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


@pytest.fixture
def questions(tmp_path: Path, make_home: Callable[..., Path], scripted_gguf: Path) -> Path:
    """A file of questions in two languages; a bundle that writes both is installed."""
    make_home(scripted_gguf, languages=["en", "zh"])
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in QUESTIONS), encoding="utf-8")
    return path


def test_answers_of_two_models_become_figures_a_page_a_sheet_and_marks(
    questions: Path, scripted_gguf: Path, tmp_path: Path
) -> None:
    page, answers, sheet = tmp_path / "page.html", tmp_path / "answers.json", tmp_path / "marks.csv"
    done = run("answers", questions, "--model", "q8_0", "--model", scripted_gguf, "--show", "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    answers.write_text(done.stdout, encoding="utf-8")
    whole = json.loads(done.stdout)
    assert sorted(whole) == ["answers", "classifiers", "differences", "intents", "intervals", "models", "times"]
    for row in whole["models"].values():
        assert row["questions"] == 4
        assert row["facts_found"] == 1.0
        assert row["grounded"] == 1.0  # the question for a person is handed over before a model writes "30 days"
        assert row["hand_off_recall"] == 1.0  # one by a rule, one since nothing similar was found
        assert row["perplexity"] > 1
    assert whole["differences"][str(scripted_gguf)]["facts_found"] == [0.0, 0.0, 0.0]
    assert "not answerable" in {row["intent"] for row in whole["intents"]["q8_0"]}
    assert all(0 < whole["times"]["q8_0"][f"first_p{n}_s"] <= whole["times"]["q8_0"][f"whole_p{n}_s"] for n in (50, 95))
    assert "大多数商品多久可以退" in page.read_text(encoding="utf-8")

    done = run("sheet", answers, "--out", sheet)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(sheet.read_text(encoding="utf-8-sig"))))
    assert len(rows) == 8
    for rater in ("a", "b"):
        with (tmp_path / f"{rater}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "fluency": 1 + place % 5} for place, row in enumerate(rows))
    done = run("marks", tmp_path / "a.csv", tmp_path / "b.csv", "--key", tmp_path / "marks.key.json", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["agreement"]["fluency"] == 1.0
    assert figures["marks"] == 16


def test_the_table_on_stdout_has_intervals_and_the_worst_intent(questions: Path) -> None:
    done = run("answers", questions, "--count", "3")
    assert done.returncode == 0, done.stderr
    assert "q4_k_m: 3 questions" in done.stdout
    assert "95%" in done.stdout
    assert "worst: " in done.stdout


def test_what_cannot_be_evaluated_is_said(questions: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"id": "1", "lang": "en"}\n')
    (tmp_path / "other.json").write_text('{"models": {}}')
    (tmp_path / "empty.json").write_text('{"answers": {}}')
    (tmp_path / "marks.csv").write_text("item,fluency,relevance,emotion_fit\na0001,3,,\n")
    cases = (
        (("answers", tmp_path / "none-*.jsonl"), ExitCode.MISSING, "no question"),
        (("answers", tmp_path / "bad.jsonl"), ExitCode.BAD_INPUT, "bad.jsonl:1"),
        (("answers", questions, "--model", "q9"), ExitCode.MISSING, "q4_k_m"),
        (("answers", questions, "--count", "-1"), ExitCode.USAGE, "count"),
        (("sheet", tmp_path / "other.json", "--out", tmp_path / "s.csv"), ExitCode.BAD_INPUT, "no answers"),
        (("sheet", tmp_path / "empty.json", "--out", tmp_path / "s.csv"), ExitCode.BAD_INPUT, "no answers"),
        (("marks", tmp_path / "marks.csv", "--key", tmp_path / "other.json"), ExitCode.BAD_INPUT, "not the key"),
    )
    for words, code, text in cases:
        done = run(*words)
        assert done.returncode == code, (words, done.stderr)
        assert text in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "s.csv").exists()
    assert not (tmp_path / "s.key.json").exists()
