"""Pasted text: cleaned once and for all, and a burst of keys known for a paste."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.base.inert_text import inert
from tui.base.pasted_text import BURST_GAP_S, KeyBurst, clean_pasted, clean_pasted_line, is_invisible

BREAKS = "\r\n\v\f\x85\u2028\u2029"
PASTED = st.text(st.one_of(st.characters(), st.sampled_from(BREAKS + "\u00ad\u200b\u200f\u202e\ufeff退货")))


@given(PASTED)
def test_pasted_text_has_no_other_line_break_and_nothing_invisible(text: str) -> None:
    """Part of S10."""
    cleaned = clean_pasted(text)
    assert cleaned == inert(cleaned) == clean_pasted(cleaned)
    assert cleaned.splitlines() == cleaned.split("\n") or cleaned.endswith("\n") or not cleaned
    assert not any(map(is_invisible, cleaned))
    assert all(unicodedata.category(char) != "Cf" or char in "\u200c\u200d" for char in cleaned)


@given(PASTED)
def test_pasted_line_is_one_line(text: str) -> None:
    assert len(clean_pasted_line(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("pasted", "cleaned"),
    [
        ("first\rsecond", "first\nsecond"),
        ("first\r\nsecond\n\rthird", "first\nsecond\n\nthird"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf", "a\nb\nc\nd\ne\nf"),
        ("re\u00adturn my\u200b par\ufeffcel", "return my parcel"),
        ("\u200fdelivery\u202e to \u2067Berlin\u2069", "delivery to Berlin"),
        ("退\u200b货\u2060期限", "退货期限"),
        ("4.90\u00a0€ or\u202f60", "4.90 € or 60"),
        ("全角\u3000空格", "全角\u3000空格"),
        ("👩\u200d🔧 می\u200cخواهم", "👩\u200d🔧 می\u200cخواهم"),
        ("hidden\U000e0041\U000e0042 tags", "hidden tags"),
        ("\x1b[31mred", "␛[31mred"),
    ],
)
def test_pasted_text_is_cleaned(pasted: str, cleaned: str) -> None:
    assert clean_pasted(pasted) == cleaned


def test_key_burst_is_distinguished_from_typing() -> None:
    typing, paste = KeyBurst(), KeyBurst()
    for number, key in enumerate(["a", "enter", "b", "enter", "c"]):
        typing.note(key, number * 0.03)
        assert not typing.may_be_paste
        assert not typing.has_lines
        paste.note(key, number * BURST_GAP_S / 2)
        assert paste.may_be_paste == (number > 0)
        assert paste.has_lines == (number >= 3)
    paste.note("enter", 1.0)
    assert not paste.may_be_paste
    assert not paste.has_lines
