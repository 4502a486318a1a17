from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.grounding.citations import (
    MAX_CITED,
    cite,
    source_text,
    supporting_sentences,
    unsupported_quantities,
)
from runtime.text.articles import Section, load_articles
from tests.support.paths import SHOP

RETURNS = Section(
    "returns-window", "how-long", "Return period", "How long you can return an item",
    "You can return most items within 30 days of delivery or collection. The day after you receive the item counts as "
    "day 1.", "en",
)  # fmt: skip
DELIVERY = Section(
    "delivery-standard", "price", "Standard delivery", "Price",
    "Standard delivery costs €4.90 and is free from €60. A parcel takes 2 to 4 working days.", "en",
)  # fmt: skip
CARDS = Section(
    "gift-cards",
    "value",
    "Gift cards",
    "Value",
    "Gift cards are sold from €10 to €250 and are valid for 3 years.",
    "en",
)
RETURNS_ZH = Section(
    "returns-window", "how-long", "退货期限", "多长时间", "大多数商品可在送达或自提后30天内退货。", "zh"
)
DELIVERY_ZH = Section("delivery-standard", "price", "标准配送", "价格", "标准配送费为4.90欧元，满60欧元免运费。", "zh")
ENGLISH = [DELIVERY, CARDS, RETURNS]
CHINESE = [DELIVERY_ZH, RETURNS_ZH]


@pytest.mark.parametrize(
    ("answer", "sections", "expected"),
    [
        ("You can return most items within 30 days.", ENGLISH, [RETURNS]),
        ("Delivery costs €4.90.", ENGLISH, [DELIVERY]),
        ("It's valid for three years.", ENGLISH, [CARDS]),
        ("You have 30 days to return it. Standard delivery costs €4.90, free from €60.", ENGLISH, [DELIVERY, RETURNS]),
        ("商品可在30天内退货。", CHINESE, [RETURNS_ZH]),
        ("标准配送费4.90欧元，满60欧元免运费。30天内可退货。", CHINESE, [DELIVERY_ZH, RETURNS_ZH]),
        ("I can't find that in our articles. Shall I hand you over to a colleague?", ENGLISH, []),
        ("我在资料里没有找到。需要我为您转接同事吗？", CHINESE, []),
        ("", ENGLISH, []),
        ("Anything", [], []),
    ],
)
def test_an_answer_is_cited_by_what_it_shares(answer: str, sections: list[Section], expected: list[Section]) -> None:
    assert cite(answer, sections) == expected


@pytest.mark.parametrize(
    ("section", "quotation"),
    [(RETURNS, "most items within 30 days of delivery"), (RETURNS_ZH, "送达或自提后30天内")],
)
def test_a_quotation_is_cited_however_much_is_said_around_it(section: Section, quotation: str) -> None:
    around = "hmm well honestly between ourselves frankly speaking whatever happened yesterday evening downtown " * 3
    assert cite(f"{around}{quotation} {around}", [DELIVERY, section]) == [section]


@given(st.integers(0, 400), st.integers(30, 120))
def test_an_answer_that_quotes_is_never_without_a_citation(start: int, length: int) -> None:
    text = " ".join(section.text for section in ENGLISH)
    words = text.split()
    quotation = " ".join(words[start % len(words) :][: length // 5])
    if len(quotation.split()) >= 12:
        assert cite(quotation, ENGLISH)


@given(st.text())
def test_any_answer_cites_given_sections_only_each_once_at_most_three(answer: str) -> None:
    cited = cite(answer, ENGLISH + CHINESE)
    assert len(cited) <= MAX_CITED
    assert len(set(cited)) == len(cited)
    assert set(cited) <= set(ENGLISH + CHINESE)


@pytest.mark.parametrize(
    ("answer", "sections", "expected"),
    [
        ("You can return it within 30 days.", ENGLISH, []),
        ("You can return it within thirty days.", ENGLISH, []),
        ("You can return it within 14 days.", ENGLISH, ["14 days"]),
        ("Delivery is €5.90, free from €60.", ENGLISH, ["€5.90"]),
        ("Cards last 30 years.", ENGLISH, ["30 years"]),
        ("Call before 31 December 2026 or at 18:00.", ENGLISH, ["31 december 2026", "18:00"]),
        ("Model NL-17 costs €49, yes, €49.", ENGLISH, ["nl-17", "€49"]),
        ("配送费为4.9欧元，30天内可退。", CHINESE, []),
        ("配送费为5欧元，六十天内可退，截至3月1日。", CHINESE, ["5欧元", "六十天", "3月1日"]),
        ("No figure at all.", [], []),
    ],
)
def test_figures_that_no_section_holds_are_named(answer: str, sections: list[Section], expected: list[str]) -> None:
    assert unsupported_quantities(answer, map(source_text, sections)) == expected


def test_the_example_shops_own_sentences_are_supported_and_cited(shop_articles: list[Section]) -> None:
    wrong = []
    for section in shop_articles:
        others = [other for other in shop_articles if other.lang == section.lang][:20]
        if unsupported_quantities(section.text, [source_text(section)]) or cite(section.text, [*others, section])[
            :1
        ] != [section]:
            wrong.append(section.ref)
    assert wrong == []


@pytest.fixture(scope="session")
def shop_articles() -> list[Section]:

    shop = SHOP
    return [
        section
        for lang in ("en", "zh")
        for article in load_articles(shop / lang / "articles")
        for section in article.sections
    ]


def test_supporting_sentences_are_those_of_the_section_that_the_answer_rests_on() -> None:
    price = "Standard delivery costs €4.90 and is free from €60."
    assert supporting_sentences("Delivery costs €4.90.", DELIVERY) == [price]
    assert supporting_sentences("大多数商品可退。", RETURNS_ZH) == [RETURNS_ZH.text]
    assert supporting_sentences("Nothing of the kind.", DELIVERY) == []
