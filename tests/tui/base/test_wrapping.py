"""Lines of a growing text: what is broken anew only at its end is broken as if it had always been whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content

from tui.base.inert_text import wrap_chinese
from tui.base.wrapping import wrap_text

wrap_chinese()

TOKEN = st.one_of(
    st.text(st.sampled_from("ab 中文，。（(),“”’ \n"), max_size=8),
    st.sampled_from(["退货", "，", "“", "（", " your", "\n\n", "x" * 30, "（" * 6, " " * 12, "https://shop.example/a"]),
)


@given(st.lists(TOKEN, max_size=25), st.integers(8, 40))
def test_a_text_that_grew_token_by_token_is_broken_like_the_whole(tokens: list[str], width: int) -> None:
    text, grown = "", None
    for token in tokens:
        text += token
        grown = wrap_text(text, width, grown)
        assert grown == wrap_text(text, width)


@given(st.text(st.sampled_from("ab 中文，。（(),“”’ \n"), max_size=200), st.integers(8, 40))
def test_pieces_are_the_lines_a_widget_would_show_and_join_to_the_text(text: str, width: int) -> None:
    made = wrap_text(text, width)
    assert "\n".join(made.paragraphs) == text
    shown = [made.paragraphs[one.paragraph][one.start : one.end].rstrip() for one in made.pieces]
    assert shown == [line.plain.rstrip() for line in Content(text).wrap(width)] or text == ""
    assert all(cell_len(line) <= width for line in shown)
    joined = ["" for _ in made.paragraphs]
    for one in made.pieces:
        assert len(joined[one.paragraph]) == one.start
        joined[one.paragraph] += made.paragraphs[one.paragraph][one.start : one.end]
    assert joined == list(made.paragraphs)


def test_a_draft_that_grows_breaks_only_its_last_lines_anew() -> None:
    text = "You may return it within thirty days. 退货须在三十天内。" * 40
    before = wrap_text(text, 60)
    grown = wrap_text(text + " More", 60, before)
    same = sum(one is other for one, other in zip(grown.pieces, before.pieces, strict=False))
    assert same >= len(before.pieces) - 3
