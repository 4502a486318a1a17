"""Wording compared with a reference: the numbers are those of sacreBLEU 2.6.0 (BLEU tokenize="zh", chrF defaults)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.evaluation.text_overlap import bleu, bleu_counts, chrf, chrf_counts, rouge_l, tokens

ANSWERS = ["You have 30 days to return it.", "标准配送费为4.90欧元。", "Pay by card."]
REFERENCES = [
    "You can return it within 30 days.",
    "标准配送费4.90欧元，满60欧元免运费。",
    "You can pay by card or in cash.",
]
TEXT = st.text(alphabet="ab 标准配送€4.9,。-", max_size=30)


def added(counts: object) -> list[float]:
    pairs = zip(ANSWERS, REFERENCES, strict=True)
    return [sum(column) for column in zip(*(counts(a, r) for a, r in pairs), strict=True)]  # type: ignore[operator]


def test_bleu_and_chrf_of_a_set_are_sacrebleus_in_both_languages() -> None:
    assert bleu(added(bleu_counts)) == pytest.approx(0.20251325165946557, abs=1e-12)
    assert chrf(added(chrf_counts)) == pytest.approx(0.3650255189641838, abs=1e-12)
    alone = [chrf(chrf_counts(a, r)) for a, r in zip(ANSWERS, REFERENCES, strict=True)]
    assert alone == pytest.approx([0.432356590159554, 0.346645001923017, 0.296486744467866], abs=1e-12)


def test_every_chinese_character_is_a_token_and_a_price_stays_whole() -> None:
    assert tokens("标准配送费为4.90欧元。") == [*"标准配送费为", "4.90", *"欧元。"]
    assert tokens("Pay by card, now.") == ["Pay", "by", "card", ",", "now", "."]


def test_rouge_l_does_not_drop_chinese() -> None:
    assert rouge_l("30天内可退", "您可在30天内退货") == pytest.approx(2 * 4 / (5 + 8))
    assert rouge_l("Pay by Card", "pay by card") == 1.0
    assert rouge_l("", "pay") == rouge_l("pay", "") == 0.0


@given(answer=TEXT, reference=TEXT)
def test_scores_stay_between_nought_and_one_and_nothing_beats_the_reference(answer: str, reference: str) -> None:
    for score, counts in ((bleu, bleu_counts), (chrf, chrf_counts)):
        assert 0.0 <= score(counts(answer, reference)) <= 1.0 + 1e-9
    assert 0.0 <= rouge_l(answer, reference) <= rouge_l(reference, reference) + 1e-9
