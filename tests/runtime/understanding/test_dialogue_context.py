from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.understanding.dialogue_context import detect_language, find_entities, is_follow_up, rewrite_follow_up


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How long can I return a fridge after delivery?", False),
        ("And for a fridge?", True),
        ("What about Sundays?", True),
        ("Can I return it?", True),
        ("Is that free?", True),
        ("Why?", True),
        ("Do you deliver on Sundays?", False),
        ("OK", True),
        ("NL-TV-55?", True),
        ("Where is the nearest branch of yours in town?", False),
        (
            "And I would like to know how long the delivery of a washing machine takes to a small island in winter",
            False,
        ),
        ("冰箱送货需要多长时间？", False),
        ("那冰箱呢？", True),
        ("周日呢", True),
        ("它可以退吗？", True),
        ("这个免费吗？", True),
        ("为什么？", True),
        ("你们周日送货吗？", False),
        ("Sure, 5266 is the last part", True),
        ("My name is Anna Smith", True),
        ("zip code 34098", True),
        ("anna.smith@example.com", True),
        ("My fridge leaks", False),
        ("delivery price", False),
        ("No hot water in the kitchen", False),
        ("I'm missing a screw", False),
        ("The Indura H64 has locked itself", False),
        ("I want to return 2 kettles", False),
        ("我叫李强", True),
        ("尾号是5266", True),
        ("冰箱漏水了", False),
        ("Indura H64 锁上了", False),
        ("我想退2个水壶", False),
    ],
)
def test_a_question_that_leans_on_what_was_said_is_told_from_one_that_does_not(question: str, expected: bool) -> None:
    assert is_follow_up(question) is expected


@pytest.mark.parametrize(
    ("earlier", "question", "expected"),
    [
        ([], "And for a fridge?", "And for a fridge?"),
        (["How much is delivery?"], "Do you repair shoes?", "Do you repair shoes?"),
        (["How much is delivery?"], "And for a fridge?", "How much is delivery?\nAnd for a fridge?"),
        (
            ["Do you sell kettles?", "How much is delivery?", "And for a fridge?"],
            "And on Sundays?",
            "How much is delivery?\nAnd for a fridge?\nAnd on Sundays?",
        ),
        (["送货要多少钱？"], "那冰箱呢？", "送货要多少钱？\n那冰箱呢？"),
        (
            ["Is the NL-KETTLE-17 in stock?", "How much is delivery?"],
            "Can I return it?",
            "nl-kettle-17\nHow much is delivery?\nCan I return it?",
        ),
        (["NL-FRIDGE-366有货吗？", "送货要多少钱？"], "它可以退吗？", "nl-fridge-366\n送货要多少钱？\n它可以退吗？"),
        (["", "  "], "And then?", "And then?"),
        (
            ["hello", "I need a copy of my invoice", "anna smith"],
            "zip code 34098",
            "I need a copy of my invoice\nanna smith\nzip code 34098",
        ),
        (["你好", "我想要一张发票", "李强"], "尾号是5266", "我想要一张发票\n李强\n尾号是5266"),
        (
            ["I want to return this kettle, can you help me with that?", "anna@example.com"],
            "No, I bought it in May",
            "I want to return this kettle, can you help me with that?\nanna@example.com\nNo, I bought it in May",
        ),
        (
            ["status of my claim", "anna smith", *(["5266"] * 9)],
            "code 4711",
            "status of my claim\n5266\ncode 4711",
        ),
    ],
)
def test_a_follow_up_becomes_a_whole_question(earlier: list[str], question: str, expected: str) -> None:
    assert rewrite_follow_up(question, earlier) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Hello"], {}),
        (["My order 4711234567 is late", "It is the NL-KETTLE-17"], {"order": "4711234567", "product": "nl-kettle-17"}),
        (["订单号是4711234567", "型号NL-FRIDGE-366"], {"order": "4711234567", "product": "nl-fridge-366"}),
        (["NL-TV-55", "No, the NL-TV-65"], {"product": "nl-tv-65"}),
    ],
)
def test_the_newest_order_and_product_are_carried(texts: list[str], expected: dict[str, str]) -> None:
    assert find_entities(texts) == expected


@pytest.mark.parametrize(
    ("question", "before", "expected"),
    [
        ("How much?", None, "en"),
        ("多少钱？", "en", "zh"),
        ("How much?", "zh", "en"),
        ("OK", "zh", "zh"),
        ("NL-KETTLE-17?", "zh", "zh"),
        ("4711234567", "zh", "zh"),
        ("12", None, "en"),
        ("我的NL-TV-55坏了", "en", "zh"),
    ],
)
def test_the_customers_language_is_kept_where_a_question_shows_none(
    question: str, before: str | None, expected: str
) -> None:
    assert detect_language(question, before) == expected


@settings(deadline=None)
@given(st.text(), st.lists(st.text(), max_size=8))
def test_no_text_breaks_it_and_the_question_itself_is_never_lost(question: str, earlier: list[str]) -> None:
    assert rewrite_follow_up(question, earlier).endswith(question)
    assert detect_language(question, "zh") in ("en", "zh")
    assert find_entities([*earlier, question]).keys() <= {"order", "product"}
