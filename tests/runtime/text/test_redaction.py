"""Personal data never passes; what is not personal is never touched."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.text.articles import load_articles
from runtime.text.redaction import PLACEHOLDER, Redactor
from tests.support.paths import SHOP


def digits(low: int, high: int | None = None) -> st.SearchStrategy[str]:
    return st.text("123456789", min_size=low, max_size=high or low)


def with_luhn(body: str) -> str:
    for check in string.digits:
        doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(body + check))]
        if sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0:
            return body + check
    raise AssertionError


def german_iban(account: str) -> str:
    check = 98 - int(account + "131400") % 97
    return f"DE{check:02}{account}"


def resident_id(body: str) -> str:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]


word = st.text(string.ascii_lowercase, min_size=3, max_size=8)
cap = word.map(str.capitalize)
CANARIES = {
    "EMAIL": st.builds("{}.{}@{}.example".format, word, word, word),
    "PHONE": st.one_of(
        st.builds("+49 {} {}".format, digits(3), digits(7)),
        st.builds("+353 {} {} {}".format, digits(2), digits(3), digits(4)),
        st.builds("07{} {}".format, digits(3), digits(6)),
        st.builds("0341/{}".format, digits(7)),
        st.builds("030 {}".format, digits(8)),
        st.builds("(555) {}-{}".format, digits(3), digits(4)),
        st.builds("212-{}-{}".format, digits(3), digits(4)),
        st.builds("13{}".format, digits(9)),
        st.builds("158 {} {}".format, digits(4), digits(4)),
        st.builds("+86 139 {} {}".format, digits(4), digits(4)),
    ),
    "CARD": digits(14).map(lambda body: with_luhn("4" + body)),
    "IBAN": digits(18).map(german_iban),
    "ID": st.builds("11010119{}{}0{}1{}".format, digits(1), digits(1), digits(1), digits(4)).map(
        lambda body: resident_id(body[:17].ljust(17, "1"))
    ),
    "ORDER": st.one_of(st.builds("NL-{}".format, digits(7)), st.builds("#W{}".format, digits(7))),
    "ADDRESS": st.one_of(
        st.builds("{} {} Street, {}".format, digits(1, 3), cap, cap),
        st.builds("{}straße {}, {} {}".format, cap, digits(1, 2), digits(5), cap),
        st.builds("北京市朝阳区建国路{}号{}栋{}室".format, digits(2), digits(1), digits(3)),
    ),
}
FRAMES = ["{}", "It is {}.", "please use {} and hurry", "我的是{}，谢谢", "（{}）", "first\n{}\nlast"]


@pytest.mark.parametrize("kind", CANARIES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_planted_value_never_survives(kind: str, data: st.DataObject) -> None:
    """Part of S11: the redactor."""
    canary = data.draw(CANARIES[kind])
    text = data.draw(st.sampled_from(FRAMES)).format(canary)
    cleaned = Redactor().redact(text)
    assert canary not in cleaned
    assert re.search(rf"<{kind}_1>", cleaned), (text, cleaned)
    assert not re.search(r"\d{4}", cleaned), (text, cleaned)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi, my name is Anna Keller.", "Hi, my name is <NAME_1>."),
        ("my name is anna keller and i want a refund", "my name is <NAME_1> and i want a refund"),
        ("This is Tom Baker calling", "This is <NAME_1> calling"),
        ("I'm Sofia Hernandez, thanks", "I'm <NAME_1>, thanks"),
        ("Ask Mr. O'Brien", "Ask Mr. <NAME_1>"),
        ("Kind regards,\nJo Moran", "Kind regards,\n<NAME_1>"),
        ("我叫李明，想退货", "我叫<NAME_1>，想退货"),
        ("我叫王小明我想退货", "我叫<NAME_1>我想退货"),
        ("我叫欧阳雪莹。", "我叫<NAME_1>。"),
        ("我姓张，订单没到", "我姓<NAME_1>，订单没到"),
        ("我是王芳女士", "我是<NAME_1>女士"),
        ("我是陈静。", "我是<NAME_1>。"),
        ("收件人：赵丽华", "收件人：<NAME_1>"),
        ("my zip code is 98193", "my zip code is <ADDRESS_1>"),
        ("身份证11010519491231002X", "身份证<ID_1>"),
        ("tracking number 00340434161094", "tracking number <ID_1>"),
        ("order number is 88123456", "order number is <ORDER_1>"),
        ("订单20261234567没到", "订单<ORDER_1>没到"),
        ("邮箱李＠x", "邮箱李＠x"),
        ("我的邮箱是li.ming@example.cn。", "我的邮箱是<EMAIL_1>。"),
        ("DE89 3704 0044 0532 0130 00 please", "<IBAN_1> please"),
        ("card 4111 1111 1111 1111.", "card <CARD_1>."),
    ],
)
def test_cues_and_checksums_find_values(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It costs €1,234.50 or 499 euros, 12 x €49.90.",
        "Open 9:00-18:00, phone Monday to Saturday 8:00 to 20:00.",
        "From 01.02.2026 to 2026-12-31, on 24/12/2025 and 01-02-2026.",
        "The Brio K17, Vistara TV55, VESA 400×300 and C52-G fit; so does EL-4.",
        "Call 0800 123 4567 or 400-123-4567.",
        "I'm Not sure, I'm German. This is Great.",
        "I will order 50000 of them in May; Will it rain?",
        "订单满60欧元免运费，12月24日前送达，13:30关门，499欧元。",
        "我是金卡会员，我是来退货的，我叫了快递。",
        "card 4111 1111 1111 1112 is not one",
        "The drawer is 120 cm wide, 2.05 m high and 31.5 kg.",
    ],
)
def test_figures_and_everyday_words_stay(text: str) -> None:
    assert Redactor().redact(text) == text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_shop_articles_are_left_untouched(lang: str) -> None:
    for article in load_articles(SHOP / lang / "articles"):
        for section in article.sections:
            assert Redactor().redact(section.text) == section.text, section.ref


def test_one_value_has_one_placeholder_through_a_conversation() -> None:
    redactor = Redactor()
    first = redactor.redact("My name is Anna Keller, order NL-1234567, +49 151 2345 6789.")
    later = redactor.redact("Anna here: NL-1234567 again, not NL-7654321. Ring +49 (151) 2345-6789, Keller.")
    assert first == "My name is <NAME_1>, order <ORDER_1>, <PHONE_1>."
    assert later == "<NAME_1> here: <ORDER_1> again, not <ORDER_2>. Ring <PHONE_1>, <NAME_1>."
    assert redactor.counts == {"NAME": 3, "ORDER": 3, "PHONE": 2}


def test_learnt_values_are_found_without_a_cue() -> None:
    redactor = Redactor()
    assert redactor.learn("NAME", "林艳") == "<NAME_1>"
    assert redactor.redact("林艳说她来取") == "<NAME_1>说她来取"
    redactor.learn("ID", "sofia_hernandez_5364")
    assert redactor.redact("user sofia_hernandez_5364") == "user <ID_1>"


def test_what_the_company_publishes_stays() -> None:
    published = "Write to help@northlight.example or call +353 1 555 0100, 5 Harbour Street, Cork."
    text = "Is it help@northlight.example? Mine is me@home.example. And +353 1 555 0100?"
    expected = "Is it help@northlight.example? Mine is <EMAIL_1>. And +353 1 555 0100?"
    assert Redactor(published).redact(text) == expected


def test_a_placeholder_written_by_a_customer_is_not_given_to_a_value() -> None:
    assert Redactor().redact("<EMAIL_1> and me@home.example") == "<EMAIL_1> and <EMAIL_2>"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120))
def test_redacting_twice_changes_nothing_and_no_text_breaks_it(text: str) -> None:
    redactor = Redactor()
    once = redactor.redact(text)
    assert redactor.redact(once) == once
    assert Redactor().redact(once) == once
    assert len(PLACEHOLDER.findall(once)) >= sum(redactor.counts.values())
