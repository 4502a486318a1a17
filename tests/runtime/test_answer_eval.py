from __future__ import annotations

from runtime.answer_eval import judge, load_questions, sample, summary
from runtime.prompt import ChatPieces, PromptSpec
from runtime.record import Question

PIECES = ChatPieces(
    system_open="<s>", system_close="</s>", user_open="<u>", user_close="</u>", assistant_open="<a>",
    assistant_close="</a>", stop=("</a>",),
)  # fmt: skip
SPEC = PromptSpec(
    pieces=PIECES,
    system={"en": "Answer.", "zh": "回答。"},
    refusal={"en": "I can't find that.", "zh": "我在资料里没有找到。"},
    languages=("en", "zh"),
)
RETURNS = Question(
    id="q1", lang="en", question="How long?", article="returns", evidence=("returns#window",), facts=(("30 days",),)
)
DELIVERY = Question(
    id="q2", lang="zh", question="运费多少？", article="delivery", evidence=("delivery#cost",), facts=(("4.90欧元",),)
)
NOBODY = Question(id="q3", lang="zh", question="卖自行车吗？", answerable=False)


def test_an_answer_is_judged_by_its_facts_in_both_languages() -> None:
    right = judge(RETURNS, "You have 30 days.", ["returns#window"], SPEC)
    assert (right.facts, right.found, right.refused) == (1.0, True, False)
    assert judge(RETURNS, "You have 130 days.", [], SPEC).facts == 0.0
    assert judge(DELIVERY, "普通配送4.90欧元。", ["delivery#cost"], SPEC).facts == 1.0


def test_a_refusal_is_right_only_where_there_is_no_answer() -> None:
    assert judge(NOBODY, "我在资料里没有找到。", [], SPEC).facts == 1.0
    assert judge(NOBODY, "卖，49欧元。", [], SPEC).facts == 0.0
    wrong = judge(RETURNS, "I can't find that.", ["returns#window"], SPEC)
    assert (wrong.facts, wrong.refused) == (0.0, True)


def test_the_summary_counts_each_kind_apart() -> None:
    figures = summary(
        [
            judge(RETURNS, "30 days", ["returns#window"], SPEC),
            judge(DELIVERY, "我在资料里没有找到。", [], SPEC),
            judge(NOBODY, "我在资料里没有找到。", [], SPEC),
        ]
    )
    assert figures == {
        "questions": 3,
        "facts_found": 0.5,
        "evidence_in_prompt": 0.5,
        "refused_wrongly": 0.5,
        "refused_rightly": 1.0,
    }


def test_a_sample_keeps_the_share_of_unanswerable_questions_and_is_always_the_same() -> None:
    many = [RETURNS.model_copy(update={"id": f"a{n}"}) for n in range(80)]
    many += [NOBODY.model_copy(update={"id": f"n{n}"}) for n in range(20)]
    chosen = sample(many, 10)
    assert sum(not q.answerable for q in chosen) == 2
    assert chosen == sample(many[::-1], 10)
    assert sample(many, 1000) == many


def test_the_shops_questions_load_by_language(shop) -> None:  # type: ignore[no-untyped-def]
    patterns = [str(shop / "*" / "questions-*.jsonl")]
    english = load_questions(patterns, ["en"])
    assert len([q for q in english if q.answerable]) >= 120
    assert len([q for q in english if not q.answerable]) >= 30
    assert {q.lang for q in load_questions(patterns, ["zh"])} == {"zh"}
