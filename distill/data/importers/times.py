"""Reads the times that exports write next to messages, so that a conversation can be put in order.

ISO 8601, seconds or milliseconds since 1970, and dates with the day, month and year in any usual order. Whether `3/4`
is April or March is decided for a file as a whole, by a date in it that can only be read one way. Promises: a time that
cannot be read is None, never a wrong one. Knows nothing of messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

_MAX_CHARS = 40
_EPOCH = re.compile(r"\d{9,10}(?:\.\d{1,9})?|\d{13}")
_CHINESE = re.compile(r"(\d{4})\s?年\s?(\d{1,2})\s?月\s?(\d{1,2})\s?日\s?")
_DAY = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?=$|[ ,T])")
_SLASHED = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?=$|[ ,T])")
_CLOCK = re.compile(
    r"(上午|下午|晚上|凌晨)?\s?(\d{1,2})[:：](\d{2})(?:[:：](\d{2})(?:[.,](\d{1,6}))?)?\s?([AaPp]\.?[Mm]\.?)?"
)
_AFTERNOON = frozenset({"下午", "晚上", "p"})


def day_comes_first(texts: Iterable[str]) -> bool | None:
    """Whether `3/4/2026` is the third of April in a file with these times; None where nothing in it decides.

    Dates with full stops (`3.4.2026`) are always written so.
    """
    undecided = False
    for text in texts:
        found = _DAY.match(text.strip()[:_MAX_CHARS])
        if not found or found[2] == ".":
            continue
        if int(found[1]) > 12:
            return True
        if int(found[3]) > 12:
            return False
        undecided = undecided or found[1] != found[3]
    return None if undecided else False


def parse_time(text: str, *, day_first: bool = False) -> float | None:
    """Seconds since 1970, UTC where the text names no zone; None for what is no time."""
    text = text.strip()
    if not text or len(text) > _MAX_CHARS:
        return None
    if _EPOCH.fullmatch(text):
        return float(text) / (1000 if len(text) == 13 else 1)
    try:
        return _seconds(datetime.fromisoformat(text.removesuffix(" UTC").replace(" +", "+")))
    except ValueError:
        return _loose(text, day_first=day_first)


def _loose(text: str, *, day_first: bool) -> float | None:
    if found := _CHINESE.match(text) or _SLASHED.match(text):
        year, month, day = int(found[1]), int(found[2]), int(found[3])
    elif found := _DAY.match(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        day, month = (first, second) if day_first or found[2] == "." else (second, first)
        year += 2000 if year < 100 else 0
    else:
        return _named_month(text)
    clock = _CLOCK.fullmatch(text[found.end() :].strip(" ,T"))
    hour = minute = second_of = 0
    if clock:
        hour, minute, second_of = int(clock[2]), int(clock[3]), int(clock[4] or 0)
        half = clock[1] or (clock[6] or "")[:1].lower()
        if half and hour <= 12:
            hour = hour % 12 + (12 if half in _AFTERNOON else 0)
    elif text[found.end() :].strip():
        return None
    try:
        return _seconds(datetime(year, month, day, hour, minute, second_of, tzinfo=UTC))
    except ValueError:
        return None


def _named_month(text: str) -> float | None:
    """Dates in words, as mails have them: `Mon, 3 Nov 2025 10:00:00 +0100`, `Nov 3, 2025 10:00 AM`."""
    from dateutil import parser

    if not re.search(r"[A-Za-z]{3}", text) or not re.search(r"\d{4}", text):
        return None
    try:
        return _seconds(parser.parse(text))
    except (ValueError, OverflowError):
        return None


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
