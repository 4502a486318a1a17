from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.grounding.fact_matching import facts_found, is_refusal, normalise


@pytest.mark.parametrize(
    ("answer", "spelling", "found"),
    [
        ("You have 30 days.", "30 days", True),
        ("You have 130 days.", "30 days", False),
        ("You have 30  DAYS.", "30 days", True),
        ("It is 1,000 points.", "1000 points", True),
        ("It is 1000 points.", "1,000 points", True),
        ("It costs €14.90.", "4.90", False),
        ("It costs €4.90.", "4.90", True),
        ("It costs € 4.90.", "€4.90", True),
        ("It costs €4.905.", "4.90", False),
        ("It costs €4.", "€4", True),
        ("It costs €4.90.", "€4", False),
        ("From 8:00 to 20:00.", "0:00", False),
        ("From 8:00 to 20:00.", "20:00", True),
        ("Two gift cards.", "gift card", True),
        ("That is unfair.", "fair", False),
        ("Don’t wash it.", "don't wash", True),
        ("2–4 days", "2-4 days", True),
        ("30天内可退货。", "30天", True),
        ("130天内可退货。", "30天", False),
        ("需要 30 天。", "30天", True),
        ("需要３０天。", "30天", True),
        ("一百三十天", "三十天", False),
        ("共三十天。", "三十天", True),
        ("2026年3月14日起", "3月14日", True),
        ("11月14日起", "1月14日", False),
        ("可选50，100元", "100元", True),
        ("送 USB 线", "USB", True),
        ("", "30", False),
        ("anything", "", False),
    ],
)
def test_a_fact_is_found_as_it_reads_and_never_inside_another(answer: str, spelling: str, found: bool) -> None:
    assert facts_found(answer, [[spelling]]) == float(found)


def test_any_accepted_spelling_will_do_and_each_fact_counts_the_same() -> None:
    facts = [["30 days", "thirty days"], ["€4.90"], ["门店", "branch"]]
    assert facts_found("Thirty days, at any branch.", facts) == pytest.approx(2 / 3)
    assert facts_found("anything", []) == 1.0


@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs",))), st.sampled_from(["30 days", "€4.90", "30天", "NL-17"])
)
def test_a_fact_standing_alone_is_found_in_any_company(around: str, spelling: str) -> None:
    assert facts_found(f"{around} | {spelling} | {around}", [[spelling]]) == 1.0


@given(st.text())
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normalise(text)
    assert facts_found(text, [[text]]) in (0.0, 1.0)
    assert normalise(once) == once


ENGLISH = "I can't find that in our articles. Shall I hand you over to a colleague?"
CHINESE = "我在资料里没有找到。需要我为您转接同事吗？"


@pytest.mark.parametrize(
    ("answer", "refusal", "expected"),
    [
        (ENGLISH, ENGLISH, True),
        ("I can’t find that in our articles.", ENGLISH, True),
        ("  i can't find that in our articles  ", ENGLISH, True),
        ("I can't find this in our articles. Shall I hand you over?", ENGLISH, True),
        ("You can find that in our branches within 30 days.", ENGLISH, False),
        ("", ENGLISH, False),
        (CHINESE, CHINESE, True),
        ("我在资料里没有找到，需要转接吗？", CHINESE, True),
        ("大多数商品可在30天内退货。", CHINESE, False),
        (ENGLISH, "", False),
    ],
)
def test_a_refusal_is_told_from_an_answer(answer: str, refusal: str, expected: bool) -> None:
    assert is_refusal(answer, refusal) is expected
