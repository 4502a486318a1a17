"""Text of every width at 40 columns: CJK, combining marks, emoji, right-to-left letters."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual._wrap import compute_wrap_offsets

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, wrap_chinese
from tui.base.pasted_text import clean_pasted
from tui.base.wrapping import wrap_text
from tui.state import ConsoleTurn, Phase
from tui.testing.fake_server import FakeServer, answer
from tui.widgets.composer import Composer
from tui.widgets.transcript_rows import MARGIN, indent_cells, lay_out_turn

COLUMNS = 40
TEXT = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("退货期限，。“”（） a1-\n"),
        st.sampled_from("e\u0301\u0323n\u0303\u0e01\u0e33\u0e49\u0915\u094d\u0937"),
        st.sampled_from("👍👩\u200d🔧🏽🇨🇳\ufe0f☎ｗｉｄｅ한글かな"),
    ),
    max_size=200,
)


def is_continuation(char: str) -> bool:
    """Whether a character has no width and belongs to the one before it."""
    return cell_len(char) == 0 and unicodedata.category(char) in ("Mn", "Me")


@given(TEXT, st.integers(8, COLUMNS))
def test_transcript_rows_fit_and_hold_the_whole_text(text: str, width: int) -> None:
    wrap_chinese()
    shown = inert(text)
    wrapped = wrap_text(shown, width)
    again = ["".join(wrapped.paragraphs[p.paragraph][p.start : p.end] for p in wrapped.pieces if p.paragraph == number)
             for number in range(len(wrapped.paragraphs))]  # fmt: skip
    assert "\n".join(again) == shown
    for piece in wrapped.pieces:
        row = wrapped.paragraphs[piece.paragraph][piece.start : piece.end]
        assert cell_len(row.rstrip()) <= width, row
        assert piece.start == 0 or not is_continuation(row[:1]), f"{row!r} begins with a mark of the row before"


@given(TEXT)
def test_turn_of_any_text_fits_the_screen(text: str) -> None:
    wrap_chinese()
    turn = ConsoleTurn(number=1, question=text or "?", asked_at=0.0, phase=Phase.DONE, draft=text)
    for row in lay_out_turn(turn, Catalogue("en"), COLUMNS, assisted=False).rows:
        assert MARGIN + indent_cells(row.kind) + row.content.cell_length <= COLUMNS, row.content.plain


@given(TEXT)
def test_composer_lines_fit_the_field(text: str) -> None:
    wrap_chinese()
    for line in clean_pasted(text).split("\n"):
        breaks = [0, *compute_wrap_offsets(line, COLUMNS, tab_size=4), len(line)]
        for start, end in pairwise(breaks):
            assert cell_len(line[start:end].rstrip()) <= COLUMNS
            assert start == 0 or not is_continuation(line[start : start + 1])


@pytest.mark.parametrize(
    "text",
    [
        "加急包裹晚于承诺时间送达的，我们全额退还加急运费。请在收货后7天内通过在线客服告诉我们。",
        "Zażółć gęślą jaźń e\u0301e\u0323\u0301 nai\u0308ve " * 4,
        "👍🏽 👩\u200d🔧 🇨🇳 ☎\ufe0f 退货 " * 5,
        "ｆｕｌｌｗｉｄｔｈ半角한글かなカナ" * 4,
        "שלום עליכם مرحبا بالعالم " * 4,
        "x" * 200 + "\u0301" * 3,
    ],
    ids=["chinese", "combining", "emoji", "full-width", "right-to-left", "long word"],
)
async def test_screen_of_40_columns_is_never_overdrawn(open_console: Any, text: str) -> None:
    server = FakeServer([answer([text], [])])
    async with open_console(server, size=(COLUMNS, 24)) as console:
        composer = console.app.chat.query_one(Composer)
        composer.take_pasted(text)
        await console.until(lambda: console.app.state.composer != "")
        assert all(cell_len(row) <= COLUMNS for row in console.text().splitlines())
        await console.press("enter")
        await console.phase("done")
        assert all(cell_len(row) <= COLUMNS for row in console.text().splitlines())
        assert console.app.chat.region.width == COLUMNS
