"""Chinese runs wrap between letters, with punctuation kept where it belongs, in every widget that shows text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.content import Content
from textual.widgets import Markdown, Static, TextArea

from tui.base.inert_text import wrap_chinese

wrap_chinese()

TEXT = (
    "Express 加急包裹晚于承诺时间送达的，我们全额退还加急运费（每单9.90欧元）。请在收货后7天内通过“在线客服”告诉我们。"
)
NEVER_FIRST = set("，。、；：？！）》」』】”’")
NEVER_LAST = set("（《「『【“‘")


def lines(text: str, width: int) -> list[str]:
    return [line.plain for line in Content(text).wrap(width)]


@pytest.mark.parametrize("width", [20, 21, 38, 78])
def test_a_chinese_sentence_fills_its_lines(width: int) -> None:
    got = lines(TEXT, width)
    assert "".join(line.rstrip() for line in got).replace(" ", "") == TEXT.replace(" ", "")
    for line in got[:-1]:
        assert width - 8 <= cell_len(line) <= width, line
        assert line[-1] not in NEVER_LAST
    for line in got:
        assert line[0] not in NEVER_FIRST, line


def test_english_wraps_at_spaces_as_before() -> None:
    assert lines("don’t cut words, “quoted” or (bracketed) ones", 12) == [
        "don’t cut",
        "words,",
        "“quoted” or",
        "(bracketed)",
        "ones",
    ]


@given(st.text(st.sampled_from("ab 中文，。（“”’ \n")), st.integers(2, 30))
def test_nothing_is_lost_and_no_line_is_too_wide(text: str, width: int) -> None:
    got = lines(text, width)
    assert "".join(got).replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")
    assert all(cell_len(line.rstrip()) <= width for line in got)


@pytest.mark.parametrize("text", ["“" * 100_000, "中" * 100_000, "（" * 100_000 + "a", "a" * 100_000])
def test_hostile_runs_wrap_in_linear_time(text: str) -> None:
    started = time.process_time()
    lines(text, 80)
    assert time.process_time() - started < 5


async def test_static_markdown_and_text_field_all_wrap_chinese() -> None:
    class Three(App[None]):
        def compose(self) -> ComposeResult:
            yield Static(TEXT, markup=False, id="static")
            yield Markdown(TEXT, id="markdown")
            yield TextArea(TEXT, soft_wrap=True, show_line_numbers=False, id="field")

    app = Three()
    async with app.run_test(size=(44, 40)) as pilot:
        await pilot.pause()
        for name in ("static", "markdown", "field"):
            region = app.query_one(f"#{name}").region
            rows = [strip.text for strip in app.screen._compositor.render_strips()[region.y : region.bottom]]
            first = next(row for row in rows if "Express" in row)
            # As one word, the Chinese run would have left this line after `Express`.
            assert "加急包裹" in first, name
