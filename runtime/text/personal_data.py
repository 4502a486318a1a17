"""Finds personal values in text by their form or by the words before them, in English and Chinese, without a model.

Promises: checksums decide where a form alone cannot (cards by Luhn, IBANs by ISO 13616, Chinese resident ids by
GB 11643); prices, dates, hours, model codes and toll-free hotlines are not taken. A name that no cue announces is not
found. Knows nothing of placeholders and conversations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, get_args

Kind = Literal["NAME", "EMAIL", "PHONE", "ORDER", "CARD", "IBAN", "ADDRESS", "ID"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
"""Chinese characters, as part of a regular expression's class."""


class PersonalSpan(NamedTuple):
    """A personal value and where it stands."""

    kind: Kind
    start: int
    end: int
    value: str


class _Rule(NamedTuple):
    kind: Kind
    pattern: re.Pattern[str]
    check: Callable[[str], str]
    """The part of a match that is the value; empty = not one."""


def spans_in(text: str) -> Iterator[PersonalSpan]:
    """Personal values by form, surest rules first. Group 1 of a pattern is the value where it has one."""
    for rule in _RULES:
        for match in rule.pattern.finditer(text):
            group = 1 if match.re.groups else 0
            if value := rule.check(match[group]).strip():
                start = match.start(group) + match[group].index(value)
                yield PersonalSpan(rule.kind, start, start + len(value), value)


def digits_of(text: str) -> str:
    """Return the digits of a text, full-width ones too, as 0-9."""
    return "".join(str(unicodedata.digit(char)) for char in text if char.isdigit())


def _card(text: str) -> str:
    digits = digits_of(text)
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    luhn = sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
    return text if 14 <= len(digits) <= 19 and digits[0] in "23456" and luhn else ""


def _iban(text: str) -> str:
    """Cut to the longest beginning whose ISO 13616 check digits are right: the pattern may run into the next word."""
    for end in range(len(text), 14, -1):
        plain = re.sub(r"\s", "", text[:end]).upper()
        if len(plain) < 15 or text[end - 1].isspace() or (end < len(text) and text[end].isalnum()):
            continue
        if int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1:
            return text[:end]
    return ""


def _resident_id(text: str) -> str:
    """GB 11643: weighted sum of 17 digits modulo 11 names the last character."""
    plain = unicodedata.normalize("NFKC", text).upper()
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(plain, weights, strict=False))
    return text if "10X98765432"[total % 11] == plain[17] else ""


def _phone(text: str) -> str:
    digits = digits_of(text)
    service = re.match(r"(?:400|800|888|877|866|0800|0900|0180)", digits)  # hotlines belong to nobody
    date = re.match(r"\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d(?!\d)", text)
    return "" if service or date or not 8 <= len(digits) <= 15 else text.rstrip(" -/(")


def _english_name(text: str) -> str:
    """Take the words up to the first that cannot be part of a name."""
    words: list[str] = []
    for word in text.split():
        if word.lower().strip(".") in NOT_NAMES:
            break
        words.append(word)
    return " ".join(words) if " ".join(words) in text else (words[0] if words else "")


def _chinese_name(text: str) -> str:
    """Surname and given name; the second given character is dropped where it begins the next word."""
    surname = 2 if text[:2] in _DOUBLE_SURNAMES else 1
    if surname == 1 and text[0] not in _SURNAMES:
        return ""
    given = text[surname : surname + 2]
    if given[:1] in _NOT_GIVEN or text[: surname + 2] in _NOT_CHINESE_NAMES:
        return ""
    return text[: surname + 1] if given[1:2] in _NEXT_WORD else text[: surname + 2]


def _number(text: str) -> str:
    """Take an order's or customer's number: five digits at least, and not a date."""
    return (
        "" if len(digits_of(text)) < 5 or re.match(r"(?:19|20)\d\d-\d\d-\d\d|\d\d-\d\d-(?:19|20)\d\d", text) else text
    )


def _long_number(text: str) -> str:
    """Take an order's number behind the bare word "order", which may also be followed by a quantity."""
    return _number(text) if len(digits_of(text)) > 5 else ""


def _as_found(text: str) -> str:
    return text


_EVERYDAY = """
january february march april may june july august september october november december monday tuesday wednesday thursday
friday saturday sunday will and but i i'm i'd i've we my the a an not so from with here calling speaking writing at in
on for who what when where why how is are was it its this that about order email e-mail phone number to of or please hi
hello thanks thank german british english chinese french american still just very really looking trying interested
sorry sure afraid happy angry confused unhappy upset northlight ok okay yes no your our you can could do does did have
has had bought need want would
"""
NOT_NAMES = frozenset(_EVERYDAY.split())
_DOUBLE_SURNAMES = frozenset(re.findall("..", "欧阳司马上官诸葛东方皇甫尉迟公孙令狐慕容司徒夏侯长孙宇文端木"))
_SURNAMES = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石"
    "姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐梅莫庄辛管祝左涂谷祁耿牟卜詹关费纪靳盛童欧甄项曲成游裴席"
)
_NOT_GIVEN = frozenset("，。！？、；：,.!? 我你您的是想要在有")
"""What never begins a given name; `_NEXT_WORD` is what its second character hardly ever is."""
_NEXT_WORD = _NOT_GIVEN | frozenset("和跟买订请这那先女小太电手昨今前上下把被给从单退换收地住")
_NOT_CHINESE_NAMES = frozenset({"金卡", "金卡会", "高中生", "高级会", "方便"})

_NAME_EN = r"[^\W\d_][\w'’.-]*(?:[ ][^\W\d_][\w'’-]*){0,2}"
_NAME_CAP = r"[A-ZÀ-Þ][a-zß-ÿ'’]+(?:[ -][A-ZÀ-Þ][\w'’-]+){0,2}"
_ID_TOKEN = r"(?=[A-Za-z-]*\d[\dA-Za-z-]{3})[A-Za-z]{0,4}-?\d[\dA-Za-z-]*\d"  # noqa: S105 - a pattern, no password
_CITY = r"[A-ZÀ-Þ][\wß-ÿ.-]+(?:[ ][A-ZÀ-Þ][\wß-ÿ-]+)?"
_STREET = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Drive|Court|Place|Square|Terrace|Boulevard|Blvd|Gardens|Crescent|Close)"
)
_PLACE = f"(?:(?![到至在是为址寄送])[{HAN}]){{1,8}}?"
_AREA = f"{_PLACE}(?:省|自治区|市|区|县|镇)"


def _rule(kind: Kind, pattern: str, check: Callable[[str], str] = _as_found, flags: re.RegexFlag = re.NOFLAG) -> _Rule:
    return _Rule(kind, re.compile(pattern, flags), check)


_RULES = (
    _rule("EMAIL", r"[A-Za-z0-9][\w.+-]*[@＠][\w-]+(?:[.．][\w-]+)*[.．][A-Za-z]{2,}", flags=re.ASCII),
    _rule("IBAN", r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:\s?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])", _iban),
    _rule("ID", r"(?<!\d)[1-9]\d{16}[\dXxＸｘ](?![\dA-Za-z])", _resident_id),
    _rule("CARD", r"(?<![\d.,-])\d(?:[ -]?\d){13,18}(?![\d])", _card),
    _rule("ORDER", r"(?<![A-Za-z0-9_])#[A-Z]{0,3}-?\d{5,12}(?![A-Za-z0-9_])"),
    _rule("ORDER", r"(?<![A-Za-z0-9])(?:NL-?|ORD-?|W)\d{6,12}(?![A-Za-z0-9_])"),
    _rule(
        "ORDER",
        rf"\border[ ](?:number|no\.?|num|id|nr\.?)(?:[ ]is)?[ ]?[:#]?[ ]?({_ID_TOKEN})(?![\w.,]*\d)",
        _number,
        re.IGNORECASE,
    ),
    _rule("ORDER", rf"\border[ ]?[:#]?[ ]?({_ID_TOKEN})(?![\w.,]*\d)", _long_number, re.IGNORECASE),
    _rule("ORDER", rf"订单(?:编?号)?(?:码)?(?:是|为)?[ ]?[:：#]?[ ]?({_ID_TOKEN})", _number),
    _rule(
        "ID",
        r"(?:tracking|customer|member(?:ship)?|club|serial|passport|user|account|id card)[ ](?:number|no\.?|id)?"
        rf"(?:[ ]is)?[ ]?[:#]?[ ]?({_ID_TOKEN})",
        _number,
        re.IGNORECASE,
    ),
    _rule(
        "ID",
        rf"(?:运单号|快递单号|会员号|客户号|护照号?|身份证号?码?|账号|序列号)(?:是|为)?[ ]?[:：]?[ ]?({_ID_TOKEN})",
    ),
    _rule("ID", r"(?<![A-Za-z0-9_])[a-z]+_[a-z]+_\d{3,6}(?![A-Za-z0-9_])"),
    _rule("ID", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
    _rule("PHONE", r"(?<![A-Za-z0-9_<.])(?:\+|00)[1-9]\d{0,2}[ ]?(?:\(0\))?(?:[ ./()-]{0,2}\d){7,12}(?!\d)", _phone),
    _rule("PHONE", r"(?<!\d)1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)", _phone),
    _rule(
        "PHONE", r"(?<![A-Za-z0-9_<.,:€$£¥/-])\(?0[1-9]\d{0,4}\)?(?:[ ]?[/-]?[ ]?\d{2,}){1,4}(?![\d:.,]\d|\d)", _phone
    ),
    _rule("PHONE", r"(?<![A-Za-z0-9_<.,-])(?:\(\d{3}\)[ ]?|\d{3}[-.])\d{3}[-.]\d{4}(?![\d-])", _phone),
    _rule(
        "PHONE",
        r"(?:phone|mobile|cell|call me(?: back)?(?: on| at)?|text me(?: on| at)?|reach me(?: on| at)?)"
        r"(?:[ ](?:number|no\.?))?(?:[ ]is)?[ ]?:?[ ]?(\+?\d(?:[ -]?\d){6,13})(?!\d)",
        _phone,
        re.IGNORECASE,
    ),
    _rule("PHONE", r"(?:电话|手机|联系方式)(?:号码?)?(?:是|为)?[ ]?[:：]?[ ]?(\+?\d(?:[ -]?\d){6,13})(?!\d)", _phone),
    _rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_<.])\d{{1,5}}[a-zA-Z]?,? (?:[A-Z][\w'’.-]+ ){{1,3}}{_STREET}(?![A-Za-z])\.?"
        rf"(?:,? (?:Suite|Apt\.?|Flat|Unit) \w+)?(?:, {_CITY})?"
        rf"(?:,? (?:[A-Z]{{2}} )?\d{{5}}\b|,? [A-Z]{{1,2}}\d[A-Z\d]? \d[A-Z]{{2}}\b)?",
    ),
    _rule(
        "ADDRESS",
        r"(?<![A-Za-z0-9_])[A-ZÄÖÜ][\wäöüß-]*(?:straße|strasse|str\.|weg|platz|allee|gasse|damm|ufer) \d{1,4}[a-z]?\b"
        rf"(?:, (?:D-)?\d{{5}} {_CITY})?",
    ),
    _rule("ADDRESS", r"(?<![A-Za-z0-9_])[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?![A-Za-z0-9_])"),
    _rule(
        "ADDRESS",
        r"(?:my address is|i live at|deliver(?:ed)? to|ship(?:ped)? to|send it to)[: ]+"
        rf"(\d{{1,5}}[a-z]?,? (?:[\w'’.-]+ ){{1,3}}?{_STREET}(?![A-Za-z])(?:,? [\w ]{{2,30}}?\d{{5}})?)",
        flags=re.IGNORECASE,
    ),
    _rule("ADDRESS", r"(?:zip(?: code)?|postcode|postal code)(?: is)?:? (\d{5}(?:-\d{4})?)\b", flags=re.IGNORECASE),
    _rule(
        "ADDRESS",
        rf"(?:(?<=[到至在是为址寄送：:])|(?<![{HAN}]))"
        rf"(?:{_AREA}){{0,4}}{_PLACE}(?:路|街|大道|巷|弄|胡同)\d{{1,5}}号(?:\d{{1,4}}(?:号楼|栋|幢|单元|楼|层|室|座))*",
    ),
    _rule("NAME", rf"(?:[Mm]y name is|[Mm]y name's|I am called|[Nn]ame:|[Nn]ame is)[ ]+({_NAME_EN})", _english_name),
    _rule("NAME", rf"(?:\bI'm|\bI’m|\bI am|\bi'm|\bi am)[ ]+({_NAME_CAP})", _english_name),
    _rule("NAME", rf"\b[Tt]his is[ ]+({_NAME_CAP})(?:[ ](?:speaking|calling|here|from)\b|,)", _english_name),
    _rule("NAME", rf"\b[Tt]his is[ ]+({_NAME_CAP})", lambda value: _english_name(value) if " " in value else ""),
    _rule("NAME", r"\b(?:Mr|Mrs|Ms|Miss|Dr|Herr|Frau)\.?[ ]([A-ZÀ-Þ][\w'’-]+)", _english_name),
    _rule("NAME", rf"(?:[Rr]egards|[Ss]incerely|[Cc]heers),?\s+({_NAME_CAP})", _english_name),
    _rule("NAME", rf"(?:我叫|我的?名字叫?是?|姓名[:：是]?|收件人[:：是]?)[ ]?([{HAN}]{{2,4}})", _chinese_name),
    _rule("NAME", rf"我是([{HAN}]{{2,4}})(?=[，。！,.!、 ]|$)", _chinese_name),
    _rule("NAME", rf"(?:我姓|免贵姓)([{''.join(_SURNAMES)}])"),
    _rule("NAME", rf"([{''.join(sorted(_SURNAMES))}][{HAN}]{{0,2}}?)(?=先生|女士|小姐|太太)", _as_found),
)
