"""Inbox, conversation and assist panes, and what the field's keys do."""

from __future__ import annotations

from typing import Any

import pytest

from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer


@pytest.mark.parametrize(
    ("width", "panes"), [(80, 1), (100, 2), (140, 3), (200, 3)], ids=["80x24", "100x30", "140x40", "200x60"]
)
async def test_panes_stand_side_by_side_or_one_at_a_time(
    open_console: Any, plain: FakeServer, width: int, panes: int
) -> None:
    async with open_console(plain, size=(width, 24 if width == 80 else 40)) as console:
        await console.ask("How long?")
        await console.phase("done")
        names = ("inbox", "talk", "assist")
        seen = set()
        for _ in names:
            shown = [name for name in names if console.app.chat.query_one(f"#{name}").display]
            assert len(shown) == panes
            assert console.app.chat.pane in shown
            seen.update(shown)
            await console.press("f4")
            await console.pilot.pause()
        assert seen == set(names)


async def test_another_conversation_is_opened_from_the_inbox_and_a_draft_goes_on_behind(
    open_console: Any, plain: FakeServer
) -> None:
    old = plain.journal.ask("old", "Where is my parcel?", "en")
    old |= {"state": "complete", "draft": "On its way."}
    plain.hold()
    async with open_console(plain) as console:
        await console.ask("How long?")
        plain.release(5)
        await console.sees("You may return it")
        await console.press("f4", "f4", "f4", "f4")  # once around, and on to the inbox's neighbour
        while console.app.chat.pane != "inbox":
            await console.press("f4")
        await console.sees("Where is my parcel?")
        await console.press("home")
        while console.app.chat.query_one("#inbox-list").highlighted_option.id != "old":
            await console.press("down")
        await console.press("enter")
        await console.sees("On its way.")
        plain.release(20)
        first = console.app.state.threads[0]
        await console.until(lambda: console.app.state.threads[0].turns[-1].phase == "done")
        assert first.conversation == "c1"
        assert "30 days" not in console.text()
        assert plain.cancelled == 0


async def test_another_key_sends_and_enter_begins_a_line(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, keys={"send": "ctrl+s"}, lang="zh") as console:
        await console.press("a", "enter", "b")
        assert console.app.chat.query_one(Composer).text == "a\nb"
        await console.sees("Ctrl+S 发送")
        await console.press("ctrl+s")
        await console.phase("done")
    assert plain.asked == [("a\nb", None)]
