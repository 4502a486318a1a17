"""Reads the figures out of a text: numbers with their units, money, percentages, dates, times and codes.

Covers how English and Chinese shops write them: €4.90, 4.9 euros, 49欧元, 1,000, 30 days, thirty days, 三十天,
14 March 2026, March 14, 2026年3月14日, 2026-03-14, 18:00, 6 pm, 下午6点, 10%, NL-17. Promises: a claim is only called
supported by a figure of the same kind and value. Knows nothing of what the figures mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from runtime.text.normalize import nfkc

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"  # noqa: E501
_UNITS = {
    "euro": "€|eur|euros?|欧元",
    "dollar": r"us\$|\$|usd|dollars?|美元",
    "pound": "£|gbp|pounds?|英镑",
    "yuan": "¥|rmb|cny|yuan|人民币|元",
    "percent": "%|percent|per cent",
    "minute": "minutes?|mins?|分钟",
    "hour": "hours?|hrs?|个?小时|个?钟头",
    "day": "(?:working |business |calendar )?days?|个?(?:工作日|天|日)",
    "week": "weeks?|个?(?:星期|周|礼拜)",
    "month": "months?|个月",
    "year": "years?|年",
    "point": "points?|个?积分|分",
}
_UNIT = re.compile(r"[\s-]?(?:" + "|".join(f"(?P<{name}>{text})" for name, text in _UNITS.items()) + r")(?![a-z])")
_BEFORE = {
    "€": "euro",
    "eur": "euro",
    "$": "dollar",
    "usd": "dollar",
    "£": "pound",
    "gbp": "pound",
    "¥": "yuan",
    "rmb": "yuan",
    "cny": "yuan",
}
_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # noqa: E501, SIM905
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_WORDS = {word: value for value, word in enumerate(_ONES, start=1)} | {
    word: value for value, word in zip(range(20, 100, 10), _TENS, strict=True)
}
_HAN_NUMERAL = "[零一二两三四五六七八九十百]"
_HAN = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2}


@dataclass(frozen=True)
class Quantity:
    """A figure and how it was written. `value` is canonical within its `kind`."""

    kind: str
    """`date`, `time`, `code` or `number`."""
    value: tuple[str, ...]
    """date: year, month, day, "" where not given; time: hour, minute; code, number: itself."""
    unit: str
    """Of a number; "" when none stands beside it."""
    text: str

    def supports(self, claim: Quantity) -> bool:
        """Whether a claim may rest on this figure: the same kind and value, and nothing that the claim adds."""
        if self.kind != claim.kind:
            return False
        if self.kind == "date":
            return all(said in ("", known) for said, known in zip(claim.value, self.value, strict=True))
        return self.value == claim.value and (not self.unit or not claim.unit or self.unit == claim.unit)


def quantities(text: str, *, loose: bool = False) -> list[Quantity]:
    """The figures of a text in reading order.

    Numbers in words count only before a unit ("two hours", 三十天), since "one of them" claims nothing; with `loose`
    they always count, which suits the text a claim is checked against.
    """
    rest = nfkc(text.replace("，", ", ")).casefold()
    found: list[tuple[int, Quantity]] = []
    for pattern, read in _READERS:
        unread: list[str] = []
        last = 0
        for match in pattern.finditer(rest):
            kind, value = read(match)
            start, end, unit = match.start(), match.end(), ""
            if kind in ("number", "word"):
                after = _UNIT.match(rest, end)
                unit = _BEFORE.get(match.groupdict().get("before") or "", "")
                if not unit and after:
                    unit, end = after.lastgroup or "", after.end()
                if kind == "word" and not unit and not loose:
                    continue
                kind = "number"
            if kind != "nothing":
                found.append((start, Quantity(kind, value, unit, rest[start:end].strip())))
            unread += [rest[last:start], " " * (end - start)]  # read once: a date's day is no number of its own
            last = end
        rest = "".join([*unread, rest[last:]])
    return [figure for _, figure in sorted(found, key=lambda item: item[0])]


_Reading = tuple[str, tuple[str, ...]]


def _nothing(_: re.Match[str]) -> _Reading:
    return "nothing", ()


def _date(match: re.Match[str]) -> _Reading:
    part = match.groupdict()
    name = part.get("name")
    month = str(_MONTHS.index(name[:3]) + 1) if name else part["month"]
    return "date", tuple(value.lstrip("0") if value else "" for value in (part.get("year"), month, part.get("day")))


def _time(match: re.Match[str]) -> _Reading:
    part = match.groupdict()
    hour = int(part["hour"])
    minute = 30 if part.get("half") else int(part.get("minute") or 0)
    if part.get("pm") and hour < 12:
        hour += 12
    return "time", (str(hour), str(minute))


def _code(match: re.Match[str]) -> _Reading:
    return "code", (match[0],)


def _number(match: re.Match[str]) -> _Reading:
    value = Decimal(match["number"].replace(",", "")).normalize()
    return "number", (f"{value:f}",)


def _word(match: re.Match[str]) -> _Reading:
    return "word", (str(_WORDS[match["tens"]] + _WORDS.get(match["ones"] or "", 0)),)


def _han(match: re.Match[str]) -> _Reading:
    total = digit = 0
    for char in match[0]:
        if char in "十百":
            total += (digit or 1) * (10 if char == "十" else 100)
            digit = 0
        else:
            digit = digit * 10 + _HAN[char]
    return "word", (str(total + digit),)


_READERS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], _Reading]]] = [
    (re.compile(r"<[a-z_]+\d*>"), _nothing),  # placeholders of redacted data
    (re.compile(r"^[^\S\n]*\d{1,2}[.)、]\s+", re.MULTILINE), _nothing),  # list marks; `^\s*` would try every blank line
    (re.compile(r"(?<!\d)(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})(?!\d)"), _date),
    (re.compile(r"(?:(?<!\d)(?P<year>\d{4})年)?(?<!\d)(?P<month>\d{1,2})月(?:(?P<day>\d{1,2})[日号])?"), _date),
    (re.compile(rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? (?P<year>\d{{4}})\b)?"), _date),
    (re.compile(rf"\b{_MONTH} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,? (?P<year>\d{{4}})\b)?"), _date),
    (re.compile(rf"\b{_MONTH} (?P<year>\d{{4}})\b"), _date),
    (re.compile(r"(?<![\d:])(?P<hour>\d{1,2}):(?P<minute>\d{2})(?![\d:])(?:\s?(?:am\b|(?P<pm>pm\b)))?"), _time),
    (re.compile(r"\b(?P<hour>\d{1,2})\s?(?:am\b|(?P<pm>pm\b))"), _time),
    (re.compile(r"(?P<pm>下午|晚上)?(?<!\d)(?P<hour>\d{1,2})点(?:(?P<half>半)|(?P<minute>\d{2})分?)?"), _time),
    (
        # At most five parts before the first digit, else every part of a-a-a-… is a start that looks to the end.
        re.compile(r"(?<![a-z\d])(?!(?:eur|usd|gbp|rmb|cny)\d)[a-z]{1,8}(?:-[a-z\d]+){0,5}?-?\d[a-z\d]*(?:-[a-z\d]+)*"),
        _code,
    ),
    (
        re.compile(
            r"(?:(?P<before>[€$£¥]|\b(?:eur|usd|gbp|rmb|cny))\s?)?(?P<number>\d{1,3}(?:,\d{3}){1,6}(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?)"
        ),
        _number,
    ),
    (re.compile(rf"\b(?P<tens>{'|'.join(_WORDS)})(?:-(?P<ones>{'|'.join(_ONES[:9])}))?\b"), _word),
    (re.compile(rf"(?<!{_HAN_NUMERAL}){_HAN_NUMERAL}{{1,12}}(?!{_HAN_NUMERAL})"), _han),
]
