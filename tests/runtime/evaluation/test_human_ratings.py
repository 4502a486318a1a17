from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.evaluation.human_ratings import ASPECTS, judge_marks, krippendorff_alpha, make_sheet, read_marks

ANSWERS = {
    model: [
        {"id": "q1", "lang": "en", "question": "How long?", "answer": f"30 days, says {model}."},
        {"id": "q2", "lang": "zh", "question": "运费多少？", "answer": "=4.90欧元"},
    ]
    for model in ("teacher", "student")
}


def filled(path: Path, text: str, marks: dict[str, tuple[object, ...]]) -> Path:
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    for row in rows:
        row.update(zip(ASPECTS, map(str, marks.get(row["item"], ("", "", ""))), strict=True))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8")
    return path


def test_a_sheet_hides_the_models_and_is_always_the_same() -> None:
    text, key = make_sheet(ANSWERS)
    assert make_sheet(ANSWERS) == (text, key)
    assert text.startswith("\ufeffitem,lang,question,article,answer,fluency,relevance,emotion_fit,verdict\r\n")
    assert sorted((row["model"], row["id"]) for row in key.values()) == [
        ("student", "q1"), ("student", "q2"), ("teacher", "q1"), ("teacher", "q2"),
    ]  # fmt: skip
    head = text.splitlines()[0]
    assert "model" not in head


def test_no_cell_is_a_formula() -> None:
    cells = [row["answer"] for row in csv.DictReader(io.StringIO(make_sheet(ANSWERS)[0]))]
    assert cells.count("'=4.90欧元") == 2
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


def test_marks_come_back_as_means_by_model_and_agreement(tmp_path: Path) -> None:
    text, key = make_sheet(ANSWERS)
    by_model = {"teacher": (5, 4, 3), "student": (2, 2, 3)}
    one = {item: by_model[row["model"]] for item, row in key.items()}
    two = {
        item: marks if row["id"] == "q1" else ("", "", "")
        for (item, row), marks in zip(key.items(), one.values(), strict=True)
    }
    sheets = {
        name: read_marks(filled(tmp_path / name, text, marks)) for name, marks in (("a.csv", one), ("b.csv", two))
    }
    figures = judge_marks(sheets, key)
    assert figures["models"]["teacher"] == {"fluency": 5.0, "relevance": 4.0, "emotion_fit": 3.0}
    assert figures["models"]["student"]["fluency"] == 2.0
    assert figures["agreement"] == {"fluency": 1.0, "relevance": 1.0, "emotion_fit": None, "verdict": None}
    assert figures["verdicts"]["teacher"] == {"answers": 0, "right_or_helpful": None, "misleading": None}
    assert (figures["raters"], figures["marks"]) == (2, 18)


@pytest.mark.parametrize(("mark", "line"), [("6", 2), ("0", 2), ("gut", 2), ("3.5", 2)])
def test_a_mark_that_is_none_is_refused_with_its_line(tmp_path: Path, mark: str, line: int) -> None:
    text, _ = make_sheet(ANSWERS)
    with pytest.raises(InputError, match="fluency") as error:
        read_marks(filled(tmp_path / "a.csv", text, {"a0001": (mark, "", "")}))
    assert error.value.where.endswith(f":{line}")


def test_a_sheet_of_another_evaluation_or_without_its_columns_is_refused(tmp_path: Path) -> None:
    text, key = make_sheet(ANSWERS)
    marks = read_marks(filled(tmp_path / "a.csv", text, {"a0001": (1, 2, 3)}))
    with pytest.raises(InputError, match="not in the key"):
        judge_marks({"a.csv": {**marks, "a9999": {}}}, key)
    (tmp_path / "b.csv").write_text("item,fluency\na0001,3\n")
    with pytest.raises(InputError, match="relevance"):
        read_marks(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("item,fluency,relevance,emotion_fit\na0001,3,3,3\na0001,3,3,3\n")
    with pytest.raises(InputError, match="twice"):
        read_marks(tmp_path / "c.csv")


def test_alpha_is_krippendorffs() -> None:
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example D: interval, values missing.
    four = [
        [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4], [1, 1, 2, 1],
        [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
    ]  # fmt: skip
    assert krippendorff_alpha(four) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha([[1, 5], [5, 1]]) == pytest.approx(-0.5)
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None
    assert krippendorff_alpha([[3], []]) is None


def test_raters_see_the_section_that_answers_beside_the_answer() -> None:
    texts = {("en", "returns#long"): "Returns: How long\n30 days.", ("zh", "returns#long"): "退货：期限\n30天。"}
    rows = [
        {"id": lang, "lang": lang, "question": "?", "answer": "!", "evidence": ["returns#long", "gone#one"]}
        for lang in ("en", "zh")
    ]
    sheet = list(csv.DictReader(io.StringIO(make_sheet({"m": rows}, texts)[0])))
    assert {row["article"] for row in sheet} == set(texts.values())


def test_verdicts_of_three_raters_count_by_the_middle_one(tmp_path: Path) -> None:
    rows = [{"id": f"q{n}", "lang": "en", "question": "?", "answer": f"{n}"} for n in range(4)]
    text, key = make_sheet({"m": rows})
    places = {entry["id"]: item for item, entry in key.items()}
    raters = [
        {"q0": "right", "q1": "Helpful", "q2": "misleading", "q3": "wrong"},
        {"q0": "正确", "q1": "误导", "q2": "误导", "q3": "有帮助"},
        {"q0": "wrong", "q1": "right", "q2": "right"},
    ]
    sheets = {}
    for number, given in enumerate(raters):
        path = filled(tmp_path / f"{number}.csv", text, {})
        lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        for line in lines:
            line["verdict"] = next((word for name, word in given.items() if places[name] == line["item"]), "")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        sheets[str(number)] = read_marks(path)
    verdicts = judge_marks(sheets, key)["verdicts"]["m"]
    assert verdicts["answers"] == 4
    assert verdicts["right_or_helpful"][0] == 0.5  # q0 and q1; of q3's two the worse counts
    assert verdicts["misleading"][0] == 0.25


def test_verdict_that_is_none_is_refused_and_a_sheet_without_verdicts_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item,fluency,relevance,emotion_fit,verdict\na0001,3,3,3,good\n")
    with pytest.raises(InputError, match="verdict is 'good'"):
        read_marks(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("item,fluency,relevance,emotion_fit\na0001,3,3,3\n")
    assert read_marks(tmp_path / "b.csv") == {"a0001": {"fluency": 3, "relevance": 3, "emotion_fit": 3}}
