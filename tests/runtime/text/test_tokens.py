from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.text.sentences import pieces, sentences
from runtime.text.tokens import BM25, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Returns, REFUNDS & co.", ["return", "refund", "co"]),
        ("the glass of this bus", ["the", "glass", "of", "this", "bus"]),
        ("退货期限", ["退货", "货期", "期限"]),
        ("退", ["退"]),
        ("NL-17 电水壶多少钱", ["nl", "17", "电水", "水壶", "壶多", "多少", "少钱"]),
        ("用USB充电", ["用", "usb", "充电"]),
        ("ＮＬ１７", ["nl17"]),
        ("order_id", ["order", "id"]),
        ("", []),
        ("!?。", []),
    ],
)
def test_latin_is_cut_into_words_and_chinese_into_pairs(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


TEXTS = [
    "You can return most items within 30 days of delivery.",
    "Standard delivery costs €4.90.",
    "大多数商品可在送达后30天内退货。",
    "标准配送费为4.90欧元。",
]


def test_the_text_that_shares_the_rare_words_scores_best() -> None:
    index = BM25(TEXTS)
    assert index.scores("how much does standard delivery cost").argmax() == 1
    assert index.scores("可以退货吗").argmax() == 2
    assert index.scores("配送费").argmax() == 3
    assert not index.scores("warranty 保修").any()


def test_a_product_code_outweighs_common_words() -> None:
    index = BM25([*("the kettle for the kitchen" for _ in range(20)), "the kettle NL-17"])
    assert index.scores("the kettle for the kitchen, an NL-17").argmax() == 20


@given(st.lists(st.text(), max_size=6), st.text())
def test_scores_are_finite_and_never_negative(texts: list[str], query: str) -> None:
    scores = BM25(texts).scores(query)
    assert scores.shape == (len(texts),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs €4.90. Free from €60.", ["It costs €4.90.", "Free from €60."]),
        ("approx. two days. Then 3.", ["approx. two days.", "Then 3."]),
        ("大多数可退。他说“可以。”满60欧元免费！", ["大多数可退。", "他说“可以。”", "满60欧元免费！"]),
        ("Das. 退货。Next one.", ["Das.", "退货。", "Next one."]),
        ("- one\n- two\n", ["- one", "- two"]),
        ("", []),
    ],
)
def test_text_is_cut_into_sentences_in_both_scripts(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text())
def test_no_character_but_white_space_is_lost(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(st.lists(st.sampled_from(["One two three.", "退货期限是30天。", "Yes.", "word " * 30 + "end."]), max_size=30))
def test_long_text_is_cut_into_overlapping_pieces_that_cover_it(parts: list[str]) -> None:
    text = " ".join(parts)
    cut = pieces(text, 20)
    assert cut
    assert all(any(sentence in piece for piece in cut) for sentence in sentences(text))
    for piece in cut:
        assert len(terms(piece)) <= 20 or len(sentences(piece)) <= 2
    assert len(cut) <= len(sentences(text)) + 1


def test_neighbouring_pieces_share_a_sentence() -> None:
    text = " ".join(f"Sentence number {n} has six words." for n in range(12))
    cut = pieces(text, 20)
    assert len(cut) > 3
    for left, right in pairwise(cut):
        assert sentences(left)[-1] == sentences(right)[0]


def test_short_text_stays_as_it_is() -> None:
    assert pieces("Short.  Text.", 20) == ["Short.  Text."]
