from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from runtime.grounding.extractive_answer import (
    ExtractedSentence,
    best_sentences,
    extractive_fallback,
    render_quote,
)
from runtime.retrieval.retriever import Earlier, Hit
from runtime.text.articles import Section

RETURNS = Section(
    "returns", "how-long", "Returns", "How long",
    "You can return most items within 30 days. The day after delivery is day 1. Gifts need a receipt.", "en",
)  # fmt: skip
FEES = Section("fees", "cost", "Delivery", "Cost", "Standard delivery costs €4.90. Express costs €9.90.", "en")
ZH = Section("returns", "how-long", "退货", "期限", "大多数商品可在30天内退货。签收次日为第1天。礼品需要小票。", "zh")


def alike(texts: Sequence[str]) -> list[float]:
    return [0.0] * len(texts)


def test_what_was_replied_before_tells_which_sentence_answers() -> None:
    hits = [
        Hit(RETURNS, 2.0, 0.9, (Earlier("The day after you receive it counts as day 1.", 0.95),)),
        Hit(FEES, 1, 0.8),
    ]
    (line,) = best_sentences(hits, alike, limit=1)
    assert line.text == "The day after delivery is day 1."
    assert line.section == RETURNS


def test_nearer_questions_count_for_more() -> None:
    earlier = (Earlier("Gifts need a receipt.", 0.80), Earlier("You can return most items within 30 days.", 0.95))
    (line,) = best_sentences([Hit(RETURNS, 1.0, 0.9, earlier)], alike, limit=1)
    assert "30 days" in line.text


def test_without_earlier_replies_the_nearest_sentence_is_taken() -> None:
    def near(texts: Sequence[str]) -> list[float]:
        return [1.0 if "Express" in text else 0.0 for text in texts]

    (line,) = best_sentences([Hit(FEES, 1.0, 0.9)], near, limit=1)
    assert line.text == "Express costs €9.90."


@pytest.mark.parametrize(("section", "text"), [(RETURNS, "within 30 days. The day"), (ZH, "30天内退货。签收")])
def test_lines_of_a_section_keep_its_order(section: Section, text: str) -> None:
    reply = "签收次日为第1天。" if section.lang == "zh" else "The day after delivery is day 1."
    lines = best_sentences([Hit(section, 1.0, 0.9, (Earlier(reply, 0.9),))], alike, limit=2)
    assert text in render_quote(lines)


def test_an_answer_the_lines_bear_out_is_kept_and_another_is_not() -> None:
    hits = [Hit(RETURNS, 1.0, 0.9, (Earlier("You can return it within 30 days.", 0.9),))]
    assert extractive_fallback("You can return most items within 30 days.", hits, alike, 0.5) == []
    assert extractive_fallback("Bitcoin mining is very profitable in winter.", hits, alike, 0.5)
    assert extractive_fallback("Bitcoin mining is very profitable in winter.", hits, alike, 0.0) == []


def test_an_answer_mixed_of_two_lines_agrees_with_neither() -> None:
    hits = [Hit(RETURNS, 1.0, 0.9, (Earlier("The day after delivery is day 1.", 0.9),))]
    assert extractive_fallback("Most items need a receipt on day 1.", hits, alike, 0.8)


def test_internal_sentences_are_shown_only_where_nothing_public_was_found() -> None:
    secret = replace(FEES, audience="internal")
    assert {line.section for line in best_sentences([Hit(secret, 2.0, 0.9), Hit(RETURNS, 1.0, 0.8)], alike)} == {
        RETURNS
    }
    assert {line.section for line in best_sentences([Hit(secret, 2.0, 0.9)], alike)} == {secret}


def test_no_sections_give_no_lines() -> None:
    assert best_sentences([], alike) == []


CASES = {
    "en": (
        Section("standard", "cost", "Standard delivery", "Cost", "It costs €4.90 an order. It takes two days.", "en"),
        Section("large", "cost", "Large items", "Cost", "A washing machine costs €29. Choose a day.", "en"),
        "Standard delivery: It costs €4.90 an order.\nLarge items: A washing machine costs €29.",
    ),
    "zh": (
        Section("standard", "cost", "标准配送", "运费", "每单运费4.90欧元。两天送达。", "zh"),
        Section("large", "cost", "大件配送", "运费", "洗衣机每单29欧元。可选日期。", "zh"),
        "标准配送：每单运费4.90欧元。\n大件配送：洗衣机每单29欧元。",
    ),
}


def costs(texts: Sequence[str]) -> list[float]:
    return [1.0 if "€" in text or "欧元" in text else 0.0 for text in texts]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_general_question_that_found_a_special_case_is_answered_with_both_cases_named(lang: str) -> None:
    standard, large, shown = CASES[lang]
    special = Hit(large, 9.0, 0.88, special=True)
    lines = best_sentences([special, Hit(standard, 4.0, 0.90)], costs)
    assert render_quote(lines) == shown
    assert [line.section for line in lines] == [standard, large]
    express = Hit(replace(large, article="express", title="Express"), 5.0, 0.89)
    assert render_quote(best_sentences([special, express, Hit(standard, 4.0, 0.90)], costs)) == shown
    # Another article that is farther from the question is no general case of it.
    assert {line.section for line in best_sentences([special, Hit(standard, 4.0, 0.87)], costs)} == {large}
    assert {
        line.section for line in best_sentences([replace(special, special=False), Hit(standard, 4.0, 0.9)], costs)
    } == {large}


def test_answer_is_of_one_section_however_well_another_ones_sentence_fits() -> None:
    earlier = (Earlier("Express costs €9.90.", 0.95),)
    lines = best_sentences([Hit(RETURNS, 2.0, 0.9), Hit(FEES, 1.0, 0.89, earlier)], alike)
    assert {line.section for line in lines} == {RETURNS}


@pytest.mark.parametrize(
    ("lang", "text", "row", "shown"),
    [
        ("en", "Fees:\n\n| model | fee |\n|---|---|\n| A4 | €3 |\n| A5 | €4 |", "A5", "model: A5; fee: €4."),
        ("zh", "| 型号 | 费用 |\n|---|---|\n| A4 | 3欧元 |\n| A5 | 4欧元 |", "A5", "型号: A5; 费用: 4欧元."),
        ("en", "We take back:\n- fridges\n- ovens\n- kettles", "oven", "We take back: ovens"),
        ("zh", "我们回收：\n- 冰箱\n- 烤箱\n- 水壶", "烤箱", "我们回收：烤箱"),
    ],
)
def test_row_is_shown_with_its_head_and_a_lead_in_never_alone(lang: str, text: str, row: str, shown: str) -> None:
    section = Section("list", "all", "List", "All", text, lang)

    def near(texts: Sequence[str]) -> list[float]:
        return [1.0 if row in one else 0.0 for one in texts]

    (line,) = best_sentences([Hit(section, 1.0, 0.9)], near, limit=1)
    assert line.text == shown
    whole = render_quote(best_sentences([Hit(section, 1.0, 0.9)], near, limit=3))
    assert not whole.endswith((":", "："))
    assert whole.count("We take back:") + whole.count("我们回收：") <= 1


@pytest.mark.parametrize(
    ("lang", "text", "shown"),
    [
        ("en", "We take back:\n- fridges\n- ovens", "We take back: fridges; ovens"),
        ("zh", "我们回收：\n- 冰箱\n- 烤箱", "我们回收：冰箱；烤箱"),
    ],
)
def test_list_items_shown_together_are_told_apart(lang: str, text: str, shown: str) -> None:
    section = Section("list", "all", "List", "All", text, lang)
    assert render_quote(best_sentences([Hit(section, 1.0, 0.9)], alike)) == shown


DRAFTS = {
    "en": (
        Section(
            "fees", "cost", "Delivery", "Cost", "A. Standard is €4.90. Up to 30 kg. By noon. Fragile goods: €7.", "en"
        ),
        "Fragile goods cost €7. The moon is made of cheese.",
        "A. Standard is €4.90. Up to 30 kg. Fragile goods: €7.",
    ),
    "zh": (
        Section(
            "fees", "cost", "配送", "运费", "甲类。标准配送4.90欧元。限重30公斤。中午前送达。易碎品收7欧元。", "zh"
        ),
        "易碎品收7欧元。月亮是奶酪做的。",
        "甲类。标准配送4.90欧元。限重30公斤。易碎品收7欧元。",
    ),
}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_a_replaced_draft_quotes_of_the_section_shown_stays(lang: str) -> None:
    section, draft, shown = DRAFTS[lang]

    def first(texts: Sequence[str]) -> list[float]:
        return [1.0 / place for place, _ in enumerate(texts, start=1)]

    hits = [Hit(section, 2.0, 0.9)]
    assert render_quote(extractive_fallback(draft, hits, first, 0.8)) == shown
    assert "7" not in render_quote(best_sentences(hits, first))


@pytest.mark.parametrize(
    ("lang", "shown"),
    [("en", "Delivery, Cost: A.\nDelivery, Time: B."), ("zh", "Delivery，Cost：A.\nDelivery，Time：B.")],
)
def test_two_cases_of_one_article_are_told_apart_by_their_headings(lang: str, shown: str) -> None:
    cost = Section("fees", "cost", "Delivery", "Cost", "A.", lang)
    time = replace(cost, anchor="time", heading="Time", text="B.")
    assert render_quote([ExtractedSentence(each, each.text, titled=True) for each in (cost, time)]) == shown
