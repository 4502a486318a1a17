"""Folds the many spellings of one text into one, with an index back to the original.

What word processors, phones and input methods insert (no-break spaces, hyphens of another code point, full-width
letters, zero-width marks, digits as Chinese numerals) must not hide a phone number from a pattern. Promises: every
character of the folded text comes from a known place of the original; Chinese punctuation stays as it is; time is
linear in the text. Knows no pattern.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d")
"""Written for a hyphen. An em dash is none: it parts sentences."""
_FULL_WIDTH_KEPT = frozenset("，：；！？（）")
"""Chinese punctuation that NFKC would turn into Latin: a comma between digits means another thing there."""
_LEADER = re.compile(r"\.{3,}")
_HAN_DIGITS = str.maketrans("零〇○一二三四五六七八九幺壹贰叁肆伍陆柒捌玖", "0001234567891123456789")
_HAN_DIGIT = "[零〇○一二三四五六七八九幺壹贰叁肆伍陆柒捌玖]"
_HAN_NUMBER = re.compile(f"{_HAN_DIGIT}(?:[ -]?{_HAN_DIGIT}){{6,}}")
"""Seven at least: a phone number or an id, not a year or an amount."""


@dataclass(frozen=True)
class FoldedText:
    """A folded text. Character `i` stands for `original[starts[i]:ends[i]]`."""

    original: str
    text: str
    starts: tuple[int, ...] | range
    ends: tuple[int, ...] | range

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a non-empty span of the folded text is in the original."""
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> FoldedText:
    """Compatibility forms, spaces, dashes and digits in one spelling; format characters left out."""
    if text.isascii():
        return FoldedText(text, _spaced(text), range(len(text)), range(1, len(text) + 1))
    out: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for place, char in enumerate(text):
        if out and unicodedata.combining(char):
            # A base and its mark are one letter, as they are in composed text.
            composed = unicodedata.normalize("NFC", out[-1] + char)
            out[-1], ends[-1] = composed if len(composed) == 1 else out[-1], place + 1
            continue
        for folded in _fold_char(char):
            out.append(folded)
            starts.append(place)
            ends.append(place + 1)
    plain = _HAN_NUMBER.sub(lambda match: match[0].translate(_HAN_DIGITS), "".join(out))
    return FoldedText(text, _spaced(plain), tuple(starts), tuple(ends))


def _spaced(text: str) -> str:
    """Tabs and dotted leaders as blanks, one for one: a form with a gap in it is still that form."""
    text = text.replace("\t", " ")
    return _LEADER.sub(lambda match: " " * len(match[0]), text) if "..." in text else text


@functools.lru_cache(maxsize=8192)
def _fold_char(char: str) -> str:
    if char.isascii() or char in _FULL_WIDTH_KEPT:
        return char
    if char in _DASHES:
        return "-"
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if category == "Cf" or "\ufe00" <= char <= "\ufe0f":  # zero-width, direction marks; variation selectors
        return ""
    if category == "Nd":
        return str(unicodedata.digit(char))
    if char.isalpha() or 0xFF00 <= ord(char) <= 0xFFEF:
        return unicodedata.normalize("NFKC", char)
    return char
