from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.grounding.citations import source_text
from runtime.grounding.claim_check import unsupported_claims
from runtime.text.articles import Section, load_articles

EN = [
    Section("a", "x", "Return period", "How long", "You can return it within 30 days. Ask Northlight Service.", "en"),
    Section("b", "x", "Delivery", "Price", "Standard delivery costs €4.90 and is free from €60.", "en"),
]
ZH = [
    Section("a", "x", "退货", "多久", "30天内可退货，请联系王女士。", "zh"),
    Section("b", "x", "送货", "价格", "满60欧元免运费。", "zh"),
]


@pytest.mark.parametrize(
    ("answer", "sections", "expected"),
    [
        ("You can return it within 30 days.", EN, []),
        ("You can return it within 60 days.", EN, ["60 days"]),
        ("Delivery is free from €60.", EN, []),
        ("We guarantee it. It is free.", EN, ["We guarantee it."]),
        ("We do not guarantee it.", EN, []),
        ("Do you want a refund?", EN, []),
        ("You get your money back.", EN, ["You get your money back."]),
        ("I will make an exception for you.", EN, ["I will make an exception for you."]),
        ("Please ask Northlight Service on Monday.", EN, []),
        ("Please ask Peter Miller on Monday.", EN, ["Peter Miller"]),
        ("Write to help@example.com, see www.example.com/x.", EN, ["help@example.com", "www.example.com/x."]),
        ("30天内可退货。满60欧元免运费。", ZH, []),
        ("我们保证全额赔偿。", ZH, ["我们保证全额赔偿。"]),
        ("我们不能保证。", ZH, []),
        ("可以打折。", ZH, ["可以打折。"]),
        ("请联系王女士。", ZH, []),
        ("请找陈先生。", ZH, ["找陈先生"]),
        ("", [], []),
    ],
)
def test_what_no_section_says_is_marked(answer: str, sections: list[Section], expected: list[str]) -> None:
    assert unsupported_claims(answer, map(source_text, sections)) == expected


def test_the_example_shops_own_sections_claim_nothing_beyond_themselves(shop: Path) -> None:
    sections = [
        section
        for lang in ("en", "zh")
        for article in load_articles(shop / lang / "articles")
        for section in article.sections
    ]
    assert {
        section.ref: marked
        for section in sections
        if (marked := unsupported_claims(section.text, [source_text(section)]))
    } == {}


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_text_breaks_the_check_and_a_text_supports_itself(answer: str, other: str) -> None:
    assert all(claim in answer or claim == claim.casefold() for claim in unsupported_claims(answer, []))
    assert unsupported_claims(other, [other]) == []
