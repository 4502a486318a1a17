from __future__ import annotations

import numpy as np
import pytest

from runtime.retrieval.past_question_index import NearQuestion, PastQuestionIndex

ARTICLES = ["standard", "large", "returns", "express", "club"]
NEARNESS = np.array([1.2, 0.9, -0.6, -0.5, -1.0])
ALL = np.arange(5)


def index(rows: list[tuple[str, int]]) -> PastQuestionIndex:
    return PastQuestionIndex(
        [text for text, _ in rows], np.array([section for _, section in rows], dtype=np.int64), ARTICLES
    )


def near(rows: list[tuple[str, int]], cosines: list[float]) -> list[NearQuestion]:
    found = [
        NearQuestion(at, section, cosine) for at, ((_, section), cosine) in enumerate(zip(rows, cosines, strict=True))
    ]
    return sorted(found, key=lambda one: -one.cosine)


def total(rows: list[tuple[str, int]], cosines: list[float], question: str) -> np.ndarray:
    return NEARNESS + index(rows).support(question, near(rows, cosines), ALL, NEARNESS)


@pytest.mark.parametrize("question", ["How do I collect points?", "积分怎么攒？"])
def test_near_identical_earlier_question_decides(question: str) -> None:
    rows = [
        ("What does a parcel cost?", 0),
        ("包裹多少钱？", 0),
        (question, 4),
        ("May I swap it?", 2),
        ("能换货吗？", 2),
    ]
    assert total(rows, [0.80, 0.80, 0.99, 0.79, 0.79], question).argmax() == 4


def test_far_earlier_question_of_another_section_does_not_outweigh_a_section_nobody_asked_about() -> None:
    """B9: two old questions about other articles must not hide a new article."""
    rows = [("May I swap it?", 2), ("Is the box needed for a return?", 2)]
    assert total(rows, [0.80, 0.79], "What does a parcel to my aunt cost?").argmax() == 0
    rows = [("能换货吗？", 2), ("退货要原包装吗？", 2)]
    assert total(rows, [0.80, 0.79], "给阿姨寄包裹多少钱？").argmax() == 0


@pytest.mark.parametrize(
    ("question", "general", "special"),
    [
        (
            "What does delivery cost?",
            "How much is the postage for a parcel?",
            "What does delivery of a washing machine cost?",
        ),
        ("送货要多少钱？", "寄包裹的邮费是多少？", "洗衣机送货要多少钱？"),
    ],
)
def test_earlier_question_about_a_special_case_counts_for_less_than_its_words(
    question: str, general: str, special: str
) -> None:
    rows = [(general, 0), (special, 1), ("May I swap a washing machine?", 2), ("能换洗衣机吗？", 2), ("club", 4)]
    narrow = total(rows, [0.90, 0.91, 0.80, 0.80, 0.7], question)
    same = total([rows[0], (question, 1), *rows[2:]], [0.90, 0.91, 0.80, 0.80, 0.7], question)
    assert narrow[1] - narrow[0] < same[1] - same[0]


def test_without_earlier_questions_the_order_is_the_sections_own() -> None:
    assert not index([]).support("anything", [], ALL, NEARNESS).any()


@pytest.mark.parametrize(
    ("question", "special"),
    [
        ("What does delivery cost?", "What does delivery of a washing machine cost?"),
        ("送货要多少钱？", "洗衣机送货要多少钱？"),
    ],
)
def test_special_case_of_a_question_is_told_from_the_question_and_from_another(question: str, special: str) -> None:
    rows = [(question, 0), (special, 1), ("May I swap a kettle?", 2), ("能换水壶吗？", 2), ("club", 4)]
    known = index(rows)
    assert known.says_more(question, 1) > 0.25
    assert known.says_more(question, 0) == pytest.approx(0.0)
    assert known.says_more(special, 0) == pytest.approx(0.0)
    assert known.says_more("May I swap a toaster and a lamp?", 1) < 0.25
