"""The conversation paints its own lines: what grows, is clicked and is selected."""

from __future__ import annotations

from typing import Any

import pytest
from textual.geometry import Offset

from tests.tui.conftest import RETURNS
from tui.screens.chat import ChatScreen
from tui.testing.fake_server import FakeServer, answer
from tui.widgets.transcript import Transcript


async def test_a_draft_of_fifty_lines_lays_out_no_widget(sit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = FakeServer([answer([f"line {n} 退货\n" for n in range(100)], [RETURNS])])
    desk.hold()
    laid_out: list[int] = []
    layout = ChatScreen._refresh_layout
    monkeypatch.setattr(
        ChatScreen, "_refresh_layout", lambda self, *args, **more: (laid_out.append(1), layout(self, *args, **more))
    )
    async with sit(desk, size=(140, 40)) as seat:
        await seat.ask("Long?")
        desk.release(4 + 48)  # The scroll bar stands by then.
        await seat.sees("line 47 ")
        await seat.pilot.pause(0.05)
        before = len(laid_out)
        for number in range(48, 98):
            desk.release()
            await seat.sees(f"line {number} ")
        assert len(laid_out) == before


async def test_what_is_selected_is_copied_as_the_text_not_as_its_lines(sit: Any) -> None:
    sentence = "You may return it within 30 days of delivery, unless it was made for you alone. 退货须在三十天内。"
    desk = FakeServer([answer([sentence, "\nSecond paragraph."], [])])
    async with sit(desk, size=(60, 24)) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.sees("Second paragraph.")
        rows = seat.text().splitlines()
        first = next(n for n, row in enumerate(rows) if "You may" in row)
        last = next(n for n, row in enumerate(rows) if "Second" in row)
        assert last - first >= 2, "the sentence should take several lines"
        await seat.pilot.mouse_down(offset=Offset(rows[first].index("You"), first))
        await seat.pilot.hover(offset=Offset(rows[last].index(" paragraph"), last))
        await seat.pilot.mouse_up(offset=Offset(rows[last].index(" paragraph"), last))
        assert (seat.app.screen.get_selected_text() or "").startswith(f"{sentence}\nSecond")
        written: list[str] = []
        seat.app._driver.write = written.append
        await seat.press("ctrl+c")
        await seat.sees("Copied,")
        assert any("\x1b]52;c;" in one for one in written)


async def test_an_edited_draft_is_cut_short_and_says_so(sit: Any) -> None:
    desk = FakeServer([answer([f"line {n}\n" for n in range(9)], [])])
    async with sit(desk, size=(80, 30)) as seat:
        await seat.ask("Long?")
        await seat.phase("done")
        await seat.press("f6", *" more", "enter", "enter")
        await seat.sees("Draft · changed and sent")
        draft = seat.text().split("Draft ·")[1].split("Your reply")[0]
        assert "line 2…" in draft
        assert "line 3" not in draft


async def test_another_theme_and_another_width_paint_everything_anew(sit: Any) -> None:
    desk = FakeServer([answer(["a " * 60], [])])
    async with sit(desk, size=(140, 30)) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        turns = seat.app.chat.query_one(Transcript)
        dark = turns.render_line(1)
        await seat.press("f3")
        await seat.pilot.pause()
        assert [one.style for one in turns.render_line(1)] != [one.style for one in dark]
        rows = turns.virtual_size.height
        await seat.pilot.resize_terminal(60, 30)
        await seat.until(lambda: turns.virtual_size.height > rows)
