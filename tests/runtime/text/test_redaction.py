"""Personal data never passes; what is not personal is never touched."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.text.articles import load_articles
from runtime.text.personal_data import PersonalRules
from runtime.text.redaction import PLACEHOLDER, Redactor
from tests.support.paths import SHOP

RULES = PersonalRules(order_number=(r"NL-?\d{6,12}",), names_not_personal=("Northlight",))


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
    cleaned = Redactor(rules=RULES).redact(text)
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
        ("Vxastraße 1, 11111 Aaa", "<ADDRESS_1>"),
        ("加我wxanna1988", "加我wx<ACCOUNT_1>"),
        ("my wechat annakeller", "my wechat <ACCOUNT_1>"),
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
    redactor = Redactor(rules=RULES)
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


def test_company_order_number_is_found_by_its_policys_pattern_alone() -> None:
    text = "It is NL-1234567, from Northlight."
    assert Redactor().redact(text) == text
    assert Redactor(rules=RULES).redact(text) == "It is <ORDER_1>, from Northlight."
    rules = PersonalRules(order_number=(r"ORD\d{4}-\d{3,9}",), customer_id=(r"[a-z]{1,20}_[a-z]{1,20}_\d{3,6}",))
    assert Redactor(rules=rules).redact("ORD2024-557 of jan_vries_123") == "<ORDER_1> of <ID_1>"


def test_company_names_are_no_persons() -> None:
    text = "This is Northlight speaking. My name is Northlight. 我叫华北灯具。"
    rules = PersonalRules(names_not_personal=("Northlight", "华北"))
    assert Redactor(rules=rules).redact(text) == text
    assert "<NAME_1>" in Redactor().redact(text)


def test_public_hotline_and_its_parts_stay_and_other_numbers_go() -> None:
    redactor = Redactor("Call +353 1 555 0100 or 021-65432100.")
    assert redactor.redact("+353 1 555 0100, 021-65432100, 021-65432101") == (
        "+353 1 555 0100, 021-65432100, <PHONE_1>"
    )


@pytest.mark.parametrize(
    "written",
    [
        "138\u00a01234\u00a05678",
        "138\u202f1234\u202f5678",
        "138\u20111234\u20115678",
        "138\u200b1234\u200b5678",
        "1\u00ad3812345678",
        "１３８１２３４５６７８",
        "138－1234－5678",
        "一三八一二三四五六七八",
        "幺三八 一二三四 五六七八",
        "\u202a13812345678\u202c",
        "٠١٣٨١٢٣٤٥٦٧٨",
    ],
    ids=ascii,
)
def test_unicode_spelling_of_a_number_hides_nothing(written: str) -> None:
    for text in (f"call {written} now", f"我的电话是{written}，谢谢", written):
        cleaned = Redactor().redact(text)
        assert "<PHONE_1>" in cleaned
        assert not re.search(r"\d{3}|[一二三四五六七八]{3}|[０-９]{3}", cleaned.replace("谢", "")), cleaned


def test_unicode_spellings_of_one_value_share_a_placeholder() -> None:
    redactor = Redactor()
    assert (
        redactor.redact("138\u00a01234\u00a05678 / 13812345678 / １３８１２３４５６７８")
        == "<PHONE_1> / <PHONE_1> / <PHONE_1>"
    )
    assert redactor.redact("ｌｉ＠ｅｘａｍｐｌｅ．ｃｎ li@example.cn") == "<EMAIL_1> <EMAIL_1>"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_redaction_keeps_every_character_outside_the_values(text: str) -> None:
    cleaned = Redactor().redact(text)
    rest = PLACEHOLDER.split(cleaned)[::3]
    place = 0
    for part in rest:
        place = text.index(part, place) + len(part)


PLANTED: dict[str, list[tuple[str, str, str]]] = {
    "NAME": [
        ("en", "Anna Kowalski", "{} here, my parcel is late"),
        ("en", "Piotr", "my husband {} will pick it up"),
        ("en", "Siobhán O'Neill", "Please tell Dr. {} that I called"),
        ("en", "Marieke van der Berg", "My name is {}."),
        ("en", "Jürgen Müller", "Ich heiße {} und warte"),
        ("en", "François Dupont", "je m'appelle {}, merci"),
        ("en", "Łukasz Nowak", "This is {} speaking"),
        ("en", "Tom Baker", "Thanks,\n{}"),
        ("en", "Oluwaseun", "Oluwaseun said it was fine"),
        ("en", "Priya Raman", "The order was placed by Priya Raman."),
        ("zh", "李雷", "本人{}，昨天下的单"),
        ("zh", "李雷", "联系人 {}"),
        ("zh", "褚时健", "叫{}的人签收了"),
        ("zh", "欧阳娜娜", "我老婆{}在家"),
        ("zh", "赵敏", "我同事叫{}，她来拿"),
        ("zh", "张伟", "{} 13812345678"),
        ("zh", "周杰", "周杰昨天买的"),
    ],
    "EMAIL": [
        ("en", "anna.k@example.com", "mail {} please"),
        ("en", "anna [at] example [dot] com", "mail {} please"),
        ("en", "jane at example dot com", "write to {} today"),
        ("zh", "ｌｉ＠ｅｘａｍｐｌｅ．ｃｎ", "邮箱{}"),
        ("zh", "li艾特qq点com", "邮箱是{}"),
    ],
    "PHONE": [
        ("en", "020 7946 0958", "ring me on {}"),
        ("en", "555 0100", "ring {} tonight"),
        ("en", "+31 6 12345678", "my number: {}"),
        ("en", "01 42 68 53 00", "tel {}"),
        ("zh", "021-65432100", "座机{}"),
        ("zh", "138.1234.5678", "电话：{}"),
        ("zh", "一三八一二三四五六七八", "打{}"),
    ],
    "CARD": [
        ("en", "4111.1111.1111.1111", "card {}"),
        ("zh", "6222021234567890123", "银行卡{}"),
        ("zh", "6217 0012 3456 7890", "{}是我的卡"),
    ],
    "IBAN": [("en", "NL91 ABNA 0417 1643 00", "transfer to {}"), ("en", "FR1420041010050500013M02606", "IBAN {}")],
    "IP": [("en", "192.168.17.23", "my address is {}"), ("zh", "2001:db8::ff00:42:8329", "我的IP是{}")],
    "BIRTH": [
        ("en", "12/03/1985", "born on {}"),
        ("en", "3 March 1985", "my date of birth is {}"),
        ("zh", "1990年3月4日", "生日是{}"),
        ("zh", "1990年3月4日", "我{}出生"),
    ],
    "ID": [
        ("en", "111222333", "my BSN is {}"),
        ("en", "123-45-6789", "ssn {}"),
        ("zh", "11010519491231002X", "身份证{}"),
        ("zh", "E12345678", "护照号{}"),
    ],
    "PLATE": [
        ("zh", "京A12345", "车牌{}"),
        ("zh", "粤B·12345", "{}停在门口"),
        ("en", "B-MW 1234", "my license plate is {}"),
        ("en", "M-AB 123", "the car is M-AB 123"),
    ],
    "ACCOUNT": [
        ("zh", "123456789", "我的QQ号是{}"),
        ("zh", "li_lei_88", "微信{}"),
        ("zh", "li.lei@88", "支付宝账号{}"),
        ("en", "@anna_k99", "I posted as {} yesterday"),
        ("en", "anna.k99", "my Instagram is {}"),
        ("en", "annak", "my skype is annak"),
    ],
    "PASSWORD": [("en", "Hunter2!", "my password is {}"), ("zh", "abc123", "密码是{}"), ("en", "4829", "my pin is {}")],
    "ADDRESS": [
        ("en", "Keizersgracht 123, 1015 CJ Amsterdam", "I live at {}"),
        ("en", "12 rue de la Paix, 75002 Paris", "send it to {}"),
        ("en", "Hauptstraße 5, 04109 Leipzig", "to {}"),
        ("en", "5 Harbour Street, Cork", "my address is {}"),
        ("zh", "阳光小区3栋2单元", "我住{}"),
        ("zh", "北京市朝阳区建国路88号", "地址是{}"),
        ("zh", "望京街道", "我住在望京街道"),
    ],
}
"""(language, value, sentence). Some are beyond what forms and cues can find; the figures say so."""
LEAST = {"en": 0.85, "zh": 0.9}


def test_recall_of_planted_values_by_kind_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Part of S11: what redaction finds, and what it does not."""
    lines = []
    found = {"en": [0, 0], "zh": [0, 0]}
    for kind, planted in PLANTED.items():
        missed = []
        for lang, value, sentence in planted:
            cleaned = Redactor().redact(sentence.format(value))
            hit = value not in cleaned and f"<{kind}_1>" in cleaned
            missed += [] if hit else [value]
            found[lang][0] += hit
            found[lang][1] += 1
        lines.append(
            f"{kind:9} {len(planted) - len(missed)}/{len(planted)}" + (f"  missed: {missed}" if missed else "")
        )
    with capsys.disabled():
        print("\nredaction, planted values found by kind:", *lines, found, sep="\n  ")  # noqa: T201 - the trials
    for lang, (hits, total) in found.items():
        assert hits / total >= LEAST[lang], lines


def test_redaction_of_a_long_message_is_one_pass_and_in_pieces() -> None:
    values = [f"user{number}@example.com" for number in range(4000)]
    text = "\n".join(values)
    redactor = Redactor()
    cleaned = redactor.redact(text)
    assert "@" not in cleaned
    assert redactor.counts == {"EMAIL": 4000}
    assert redactor.redact(values[17]) == "<EMAIL_18>"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(\d+)+", "without an upper bound"),
        (r"\d+", "without an upper bound"),
        (r"(\d{1,9}){1,9}", "a repeat inside a repeat"),
        (r"(a|aa){1,30}", "a repeat inside a repeat"),
        (r"\d{3,50}\d{0,50}\d{0,50}x", "too many ways"),
        (r"(\d{3})\1", "refers to a group"),
        (r"[A-Z", "is not a regular expression"),
        (r"(?i)NL\d{6}", "is not a regular expression"),
        (r"\d{1,2}", "fewer than 3 characters"),
        ("", "fewer than 3 characters"),
        (r"\d{300}", "more than 200 characters"),
        ("a" * 300, "more than 200 characters"),
    ],
)
def test_company_pattern_that_could_block_or_match_anything_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PersonalRules(order_number=(pattern,))


@pytest.mark.parametrize(
    "pattern", [r"NL-?\d{6,12}", r"[A-Z]{2,4}\d{5}", r"(?:ORD|W)-\d{4}-\d{3,9}", "[a-z]{1,20}_[0-9]{3}"]
)
def test_company_pattern_as_people_write_them_is_accepted(pattern: str) -> None:
    assert PersonalRules(customer_id=(pattern,)).customer_id == (pattern,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4111 1111 1111 1111 12/27 123", "<CARD_1> 12/27 123"),
        ("4111111111111111 12/27", "<CARD_1> 12/27"),
        ("card 4111-1111-1111-1111 123", "card <CARD_1> 123"),
        ("5500 0000 0000 0004 08/29", "<CARD_1> 08/29"),
        ("2 4111 1111 1111 1111", "2 <CARD_1>"),
        ("1234 4111 1111 1111 1111 123 9", "1234 <CARD_1> 123 9"),
        ("3782 822463 10005 1234", "<CARD_1> 1234"),
        ("4111 1111 1111 1111 5500 0000 0000 0004", "<CARD_1> <CARD_2>"),
        ("我的卡是4111 1111 1111 1111 12/27 123。", "我的卡是<CARD_1> 12/27 123。"),
        ("卡号４１１１１１１１１１１１１１１１ 有效期12/27", "卡号<CARD_1> 有效期12/27"),
        ("sizes 36 37 38 39 40 41 42 43 44 45 46 47", "sizes 36 37 38 39 40 41 42 43 44 45 46 47"),
        ("write to jan @ example.com or jan@example.com", "write to <EMAIL_1> or <EMAIL_1>"),
        ("邮箱是jan\u00a0@example.com。", "邮箱是<EMAIL_1>。"),
        ("jan&#64;example.com, jan&#x40;example.com", "<EMAIL_1>, <EMAIL_1>"),
        ("two for €5 @ 10. Then go", "two for €5 @ 10. Then go"),
    ],
)
def test_numbers_and_blanks_around_hide_no_card_and_no_address(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Anna Kowalski rief an.", " rief an."),
        ("The parcel for Jens von der Heide never came.", "The parcel for "),
        ("Did Karim Haddad pay already?", " pay already?"),
        ("王小明下午再来。", "下午再来。"),
        ("帮李建国查一下订单", "查一下订单"),
        ("请转告张淑华。", "请转告"),
        ("我儿子黄杰弄丢了", "弄丢了"),
    ],
)
def test_full_name_without_a_cue_is_found(text: str, left: str) -> None:
    out = Redactor().redact(text)
    assert "<NAME_1>" in out
    assert left in out
    assert len(PLACEHOLDER.sub("", out)) < len(text) - 1


@pytest.mark.parametrize(
    "text",
    [
        "I flew from Charlotte Airport to San Jose with Delta Air Lines.",
        "May I use Apple Pay in the Sydney Store?",
        "Paris Hilton Hotel is full.",
        "商家也可以退货，成本和时间都不高。",
        "那刚才的景点呢？安静时段是几点？",
        "高兴地等了一天，方便的话今天来。",
        "张裕的酒和王府井的店都不错",
    ],
)
def test_places_brands_and_everyday_words_are_no_names(text: str) -> None:
    assert Redactor().redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "write to anna.k at gmail.com",
        "card......4111 1111 1111 1111",
        "card 4111\t1111\t1111\t1111",
        "Tel........0341 5550100",
        "邮箱 anna.k at qq.com",
    ],
)
def test_spelled_mail_leaders_and_tabs_hide_no_value(text: str) -> None:
    out = PLACEHOLDER.sub("", Redactor().redact(text))
    assert not re.search(r"\d{3}|anna|com", out), out


@pytest.mark.parametrize(
    "text",
    [
        "Flat 4, Wright Wells, Edwardschester, SS97 5EB",
        "603 Frye Lake, Lake Josefort, MO 28002",
        "Slavica-Gutknecht-Weg 74, 20145 Holzminden",
        "83, boulevard de Ollivier, 50754 Grondin",
        "重庆市建军市滨城王路l座",
        "江西省深圳县东城长沙路Q座",
    ],
)
def test_address_without_a_usual_street_is_known_by_its_end(text: str) -> None:
    assert PLACEHOLDER.fullmatch(Redactor().redact(text))


@pytest.mark.parametrize(
    ("asked", "reply", "expected"),
    [
        ("Sure, may I have your name please?", "Crystal Minh", "<NAME_1>"),
        ("Can I get your full name or account ID?", "it's crystal minh.", "it's <NAME_1>."),
        ("Who am I speaking with?", "Yes, Joost van der Berg\nI have a question", "Yes, <NAME_1>\nI have a question"),
        ("请问您的姓名是？", "欧阳雪莹", "<NAME_1>"),
        ("请问怎么称呼您？", "我叫王小明。", "我叫<NAME_1>。"),
        ("Can I have your name?", "no, I would rather not say", "no, I would rather not say"),
        ("Can I have your name?", "maybe", "maybe"),
        ("Which product is it?", "Silver Dryer", "Silver Dryer"),
        ("请问您的姓名是？", "为什么要问", "为什么要问"),
        ("Can I have your name?", "<NAME_1>", "<NAME_1>"),
    ],
)
def test_reply_to_whoever_asks_for_a_name_is_one(asked: str, reply: str, expected: str) -> None:
    redactor = Redactor()
    assert redactor.redact(reply, asked=asked) == expected
    if expected.startswith("<NAME_1>") and not reply.startswith("<"):
        assert redactor.redact(f"Thanks, {reply}!") == "Thanks, <NAME_1>!", "known in the rest of the conversation"
