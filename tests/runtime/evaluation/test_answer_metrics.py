from __future__ import annotations

import json

import numpy as np
import pytest

from runtime.evaluation.answer_metrics import (
    FIGURES,
    UNANSWERABLE,
    Answered,
    by_intent,
    differences,
    evaluation,
    intervals,
    judge,
    rows,
    summary,
    times,
)
from runtime.prompting.prompt_spec import ChatPieces, PromptSpec
from runtime.text.articles import Section
from runtime.text.records import Question

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
LAWYER = Question(id="q4", lang="en", question="Shall I call my lawyer?", hand_off=True, evidence=("returns#window",))
WINDOW = Section("returns", "window", "Returns", "Window", "You have 30 days to return it.", "en")
COST = Section("delivery", "cost", "配送", "价格", "标准配送费4.90欧元。", "zh")


def test_an_answer_is_judged_by_its_facts_in_both_languages() -> None:
    right = judge(RETURNS, "You have 30 days.", [WINDOW], SPEC)
    assert (right.facts, right.found, right.refused, right.unsupported) == (1.0, True, False, ())
    assert judge(RETURNS, "You have 130 days.", [], SPEC).facts == 0.0
    assert judge(DELIVERY, "普通配送4.90欧元。", [COST], SPEC).facts == 1.0


def test_a_refusal_is_right_only_where_there_is_no_answer() -> None:
    assert judge(NOBODY, "我在资料里没有找到。", [], SPEC).facts == 1.0
    assert judge(NOBODY, "卖，49欧元。", [], SPEC).facts == 0.0
    wrong = judge(RETURNS, "I can't find that.", [WINDOW], SPEC)
    assert (wrong.facts, wrong.refused) == (0.0, True)


def test_a_figure_that_no_article_has_makes_an_answer_ungrounded() -> None:
    assert judge(DELIVERY, "配送费5.90欧元。", [COST], SPEC).unsupported == ("5.90欧元",)
    asked = Question(id="q", lang="en", question="Is order 4711 late?")
    assert judge(asked, "Order 4711 is not late.", [WINDOW], SPEC).unsupported == ()


def test_a_rule_of_the_policy_or_a_refusal_hands_a_question_off() -> None:
    by_rule = judge(LAWYER, "You have 30 days.", [WINDOW], SPEC, handoff="legal")
    assert (by_rule.handed_off, by_rule.refused) == (True, False)
    assert not judge(LAWYER, "You have 30 days.", [WINDOW], SPEC).handed_off
    assert judge(NOBODY, "我在资料里没有找到。", [], SPEC).handed_off
    withheld = judge(NOBODY, "请转人工。", [], SPEC, handoff="no_article")
    assert (withheld.handed_off, withheld.refused, withheld.facts) == (True, True, 1.0)


def test_the_summary_counts_each_kind_apart() -> None:
    figures = summary(
        [
            judge(RETURNS, "30 days", [WINDOW], SPEC),
            judge(DELIVERY, "我在资料里没有找到。", [COST], SPEC),
            judge(NOBODY, "我在资料里没有找到。", [], SPEC),
            judge(LAWYER, "Call 110 days.", [], SPEC),
        ]
    )
    assert figures == {
        "questions": 4,
        "facts_found": 0.5,
        "facts_written": 0.5,
        "evidence_in_prompt": 0.6667,
        "grounded": 0.5,
        "refused_wrongly": 0.3333,
        "refused_rightly": 1.0,
        "hand_off_recall": 0.5,
        "bleu": None,
        "rouge_l": None,
        "chrf": None,
        "perplexity": None,
    }


def test_wording_and_perplexity_are_of_the_answers_that_have_a_reference() -> None:
    asked = RETURNS.model_copy(update={"reference": "You have 30 days."})
    given = judge(asked, "You have 30 days.", [WINDOW], SPEC)
    given = Answered(**{**given.__dict__, "surprise": (4 * float(np.log(3)), 4)})
    figures = summary([given, judge(DELIVERY, "4.90欧元", [COST], SPEC)])
    assert (figures["chrf"], figures["rouge_l"], figures["bleu"]) == (1.0, 1.0, 1.0)
    assert figures["perplexity"] == 3.0


def scored(count: int, right: int) -> list[Answered]:
    questions = [RETURNS.model_copy(update={"id": f"a{n:03}"}) for n in range(count)]
    return [judge(q, "30 days" if n < right else "soon", [WINDOW], SPEC) for n, q in enumerate(questions)]


def test_an_interval_holds_the_figure_narrows_with_more_questions_and_is_always_the_same() -> None:
    few, many = scored(20, 10), scored(320, 160)
    low, high = intervals(few)["facts_found"] or []
    assert low < 0.5 < high
    # The binomial's own interval: 0.5 ± 1.96 × sqrt(0.25 / 20) = ±0.219.
    assert (high - low) / 2 == pytest.approx(0.219, abs=0.04)
    narrow = intervals(many)["facts_found"] or []
    assert (narrow[1] - narrow[0]) < 0.35 * (high - low)
    assert intervals(few) == intervals(few)
    assert intervals(few)["refused_rightly"] is None
    assert intervals([])["facts_found"] is None


def test_a_difference_between_models_is_told_on_the_same_questions() -> None:
    better, worse = scored(60, 40), scored(60, 20)
    gap = differences(better, worse)["facts_found"]
    assert gap is not None
    assert gap[0] == pytest.approx(1 / 3, abs=1e-3)
    assert gap[1] > 0
    assert differences(better, better)["facts_found"] == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="same questions"):
        differences(better, worse[1:])


def test_intents_stand_worst_first_and_fall_back_to_the_article() -> None:
    answers = [
        judge(RETURNS, "30 days", [WINDOW], SPEC),
        judge(DELIVERY, "不知道", [COST], SPEC),
        judge(DELIVERY.model_copy(update={"id": "q9"}), "4.90欧元", [COST], SPEC),
        judge(NOBODY, "卖。", [], SPEC),
        judge(RETURNS.model_copy(update={"id": "q8", "intent": "return_inquiry"}), "30 days", [WINDOW], SPEC),
    ]
    assert [(row["intent"], row["questions"], row["right"]) for row in by_intent(answers)] == [
        (UNANSWERABLE, 1, 0.0),
        ("delivery", 2, 0.5),
        ("return_inquiry", 1, 1.0),
        ("returns", 1, 1.0),
    ]


def test_an_evaluation_is_json_and_compares_with_the_first_model() -> None:
    whole = evaluation({"teacher": scored(9, 9), "student": scored(9, 6)})
    assert json.loads(json.dumps(whole)) == whole
    assert list(whole["differences"]) == ["student"]
    assert whole["differences"]["student"]["facts_found"][0] == pytest.approx(-1 / 3, abs=1e-3)
    assert whole["answers"]["student"] == rows(scored(9, 6))
    assert {figure.name for figure in FIGURES} < set(whole["models"]["teacher"])
    assert evaluation({})["models"] == {}


def test_times_are_percentiles_of_the_answers_that_were_timed() -> None:
    answers = [Answered(RETURNS, "", False, 0.0, False, first_s=n / 10, took_s=float(n)) for n in range(1, 22)]
    assert times(answers) == {"first_p50_s": 1.1, "first_p95_s": 2.0, "whole_p50_s": 11.0, "whole_p95_s": 20.0}
    assert times([Answered(RETURNS, "", False, 0.0, False)]) == {}
