"""The conversation paints its own lines: what grows, is clicked and is selected."""

from __future__ import annotations

from typing import Any

import pytest
from textual.geometry import Offset

from tests.support.console import RETURNS
from tui.screens.chat import ChatScreen
from tui.testing.fake_server import FakeServer, answer
from tui.widgets.transcript import Transcript


async def test_a_draft_of_fifty_lines_lays_out_no_widget(open_console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer([answer([f"line {n} 退货\n" for n in range(100)], [RETURNS])])
    server.hold()
    laid_out: list[int] = []
    layout = ChatScreen._refresh_layout
    monkeypatch.setattr(
        ChatScreen, "_refresh_layout", lambda self, *args, **more: (laid_out.append(1), layout(self, *args, **more))
    )
    async with open_console(server, size=(140, 40)) as console:
        await console.ask("Long?")
        server.release(4 + 48)  # The scroll bar stands by then.
        await console.sees("line 47 ")
        await console.pilot.pause(0.05)
        before = len(laid_out)
        for number in range(48, 98):
            server.release()
            await console.sees(f"line {number} ")
        assert len(laid_out) == before


async def test_what_is_selected_is_copied_as_the_text_not_as_its_lines(open_console: Any) -> None:
    sentence = "You may return it within 30 days of delivery, unless it was made for you alone. 退货须在三十天内。"
    server = FakeServer([answer([sentence, "\nSecond paragraph."], [])])
    async with open_console(server, size=(60, 24)) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.sees("Second paragraph.")
        rows = console.text().splitlines()
        first = next(n for n, row in enumerate(rows) if "You may" in row)
        last = next(n for n, row in enumerate(rows) if "Second" in row)
        assert last - first >= 2, "the sentence should take several lines"
        await console.pilot.mouse_down(offset=Offset(rows[first].index("You"), first))
        await console.pilot.hover(offset=Offset(rows[last].index(" paragraph"), last))
        await console.pilot.mouse_up(offset=Offset(rows[last].index(" paragraph"), last))
        assert (console.app.screen.get_selected_text() or "").startswith(f"{sentence}\nSecond")
        written: list[str] = []
        console.app._driver.write = written.append
        await console.press("ctrl+c")
        await console.sees("Copied ")
        assert any("\x1b]52;c;" in one for one in written)


async def test_an_edited_draft_is_cut_short_and_says_so(open_console: Any) -> None:
    server = FakeServer([answer([f"line {n}\n" for n in range(9)], [])])
    async with open_console(server, size=(80, 30)) as console:
        await console.ask("Long?")
        await console.phase("done")
        await console.press("f6", *" more", "enter", "enter")
        await console.sees("Draft · edited and sent")
        draft = console.text().split("Draft ·")[1].split("Your reply")[0]
        assert "line 2…" in draft
        assert "line 3" not in draft


async def test_another_theme_and_another_width_paint_everything_anew(open_console: Any) -> None:
    server = FakeServer([answer(["a " * 60], [])])
    async with open_console(server, size=(140, 30)) as console:
        await console.ask("How long?")
        await console.phase("done")
        turns = console.app.chat.query_one(Transcript)
        dark = turns.render_line(1)
        await console.press("f3")
        await console.pilot.pause()
        assert [one.style for one in turns.render_line(1)] != [one.style for one in dark]
        rows = turns.virtual_size.height
        await console.pilot.resize_terminal(60, 30)
        await console.until(lambda: turns.virtual_size.height > rows)
