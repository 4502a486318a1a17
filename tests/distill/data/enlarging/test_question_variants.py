"""Variants: figures, codes and placeholders stay, no two are the same, and both languages have them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.cleaning.duplicates import text_key
from distill.data.enlarging.question_variants import question_variants


@pytest.mark.parametrize(
    ("question", "lang", "kept"),
    [
        ("Can I return order <ORDER_1> within 30 days of delivery?", "en", ("<ORDER_1>", "30")),
        ("How much does the NL-17 fridge cost if I pay 2 instalments?", "en", ("NL-17", "2")),
        ("Do I have to send the receipt to <EMAIL_1>?", "en", ("<EMAIL_1>",)),
        ("请问订单<ORDER_1>在30天内怎么退货？", "zh", ("<ORDER_1>", "30")),
        ("NL-17冰箱的安装费用是多少钱？", "zh", ("NL-17",)),
    ],
)
def test_variants_keep_figures_codes_and_placeholders(question: str, lang: str, kept: tuple[str, ...]) -> None:
    found = question_variants(question, lang, 6)
    assert len(found) >= 4
    assert all(part in text for text in found for part in kept), found
    keys = {text_key(text) for text in (question, *found)}
    assert len(keys) == len(found) + 1
    assert question_variants(question, lang, 6) == found
    assert question_variants(question, lang, 6, seed=8) != found


def test_variants_slip_talk_and_use_other_words() -> None:
    found = " ".join(question_variants("Can you tell me when the delivery of my parcel is?", "en", 30))
    assert "shipping" in found or "package" in found
    assert " u " in found
    words = {"hey", "hi", "there", "thx", "quick", "question", "sorry", "asap", "pls", "u", "ur", "shipping", "package"}
    words |= {
        "to",
        "bother",
        "hello",
        "can",
        "you",
        "tell",
        "me",
        "when",
        "the",
        "delivery",
        "of",
        "my",
        "parcel",
        "is",
    }
    assert {word.strip("?:,!").lower() for word in found.split()} - words, "no letter slipped"
    han = " ".join(question_variants("请问我的快递什么时候能送到，怎么退货？", "zh", 20))
    assert "啥" in han
    assert "包裹" in han or "退东西" in han


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["en", "zh"]))
def test_any_question_gives_variants_or_none_without_a_crash(question: str, lang: str) -> None:
    assert len(question_variants(question, lang, 3)) <= 3
