"""Where the time goes, and what is out of order, in words."""

from __future__ import annotations

from typing import Any

import pytest

from tui.state import Health
from tui.testing.fake_server import FakeServer


async def test_the_time_is_told_step_by_step(open_console: Any, plain: FakeServer) -> None:
    plain.hold()
    async with open_console(plain, size=(140, 40)) as console:
        await console.ask("How long?")
        plain.release(3)
        await console.sees("queued, 2 ahead of you · about 3 s to wait")
        plain.release()
        await console.sees("reading 300 of 812 tokens")
        plain.release(10)
        await console.sees("first word after 0.4 s · 25 tokens/s")


async def test_what_is_typed_is_read_along_and_a_setting_turns_it_off(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, read_ahead=True) as console:
        await console.press(*"how long")
        await console.sees("read ahead: 2 tokens, the draft will start at once")
        await console.press("enter")
        await console.phase("done")
        assert plain.asked == [("how long", "c1")]
        before = len(plain.typed)
        await console.press("ctrl+p", *"ahead", "enter")
        await console.sees("Messages are now read only when you send them.")
        await console.press(*"and then")
        # Turned on again, the whole text is read: had a part of it been read before, it would be there first.
        await console.press("ctrl+p", *"ahead", "enter")
        await console.sees("Messages are now read ahead while you type.")
        await console.press("!")
        await console.until(lambda: len(plain.typed) > before)
        assert plain.typed[before:] == ["and then!"]


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (Health(engine=False), "The model is restarting: no drafts for a moment. Articles, search"),
        (Health(disk_low_mb=120), "The disk is nearly full: 120 MB left. Answers still work"),
        (Health(updating=True), "Installing an update; everything keeps working"),
        (Health(newer="shop 2"), "shop 2 is installed and not in use yet"),
        (Health(waiting=7), "offline, 7 waiting to be sent"),
    ],
    ids=["degraded", "disk", "updating", "newer", "offline"],
)
async def test_what_is_out_of_order_is_said_with_what_still_works(
    open_console: Any, plain: FakeServer, health: Health, words: str
) -> None:
    async with open_console(plain, size=(100, 30)) as console:
        plain.branch_health = health
        await console.sees(words)
        plain.branch_health = Health()
        await console.until(lambda: words not in console.text())
