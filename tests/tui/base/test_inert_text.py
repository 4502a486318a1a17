"""Strangers' text is inert: nothing in it can command on the terminal or hide."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.base.inert_text import inert, one_line

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x9b\x07\x00\r\n\t\u202e\u2066\u200f\u200b\ufeff\u00ad\ud800[]\\{}中文“，"),
    )
)


@given(HOSTILE)
def test_nothing_that_acts_or_hides_comes_through(text: str) -> None:
    """S10."""
    for char in inert(text):
        assert char in "\n\u200c\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(char)
    inert(text).encode("utf-8")


@given(HOSTILE)
def test_inert_text_stays_as_it_is(text: str) -> None:
    assert inert(inert(text)) == inert(text)


@given(HOSTILE)
def test_a_heading_is_one_line(text: str) -> None:
    assert "\n" not in one_line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("您可以在30天内退货，凭小票。", "您可以在30天内退货，凭小票。"),
        ("naïve café – 5 € “ok” 👍🏽", "naïve café – 5 € “ok” 👍🏽"),
        ("\x1b[2J\x1b]52;c;QQ==\x07", "␛[2J␛]52;c;QQ==␇"),
        ("\x9b31m", "⟨009B⟩31m"),
        ("a\x00b\x7f", "a␀b⟨007F⟩"),
        ("a\r\nb\rc", "a\nb␍c"),
        ("safe\u202etxt.exe", "safe⟨202E⟩txt.exe"),
        ("退\u2066货", "退⟨2066⟩货"),
        ("a\u200bb\ufeff", "a⟨200B⟩b⟨FEFF⟩"),
        ("x\ud800", "x⟨D800⟩"),
        ("a\tb", "a    b"),
        ("[bold]no[/] [link=http://a]b[/link]", "[bold]no[/] [link=http://a]b[/link]"),
        ("e" + "\u0301" * 6, "e" + "\u0301" * 4 + "⟨0301⟩" * 2),
    ],
)
def test_each_kind_is_shown_as_a_sign(text: str, shown: str) -> None:
    assert inert(text) == shown
