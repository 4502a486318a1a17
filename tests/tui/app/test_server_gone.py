"""Whatever the server does, the console says it in words and loses nothing."""

from __future__ import annotations

from typing import Any

from tui.services.server_link import link_event
from tui.state import Link
from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer


async def test_a_server_that_dies_in_the_middle_is_said_and_the_question_comes_back(sit: Any, desk: FakeServer) -> None:
    desk.hold()
    async with sit(desk) as seat:
        await seat.ask("How long?")
        desk.release(5)
        await seat.sees("You may")
        desk.down = True
        desk.release()
        await seat.sees("the server is gone: no server is running for this home")
        await seat.sees("no answer: the server went away in the middle")
        assert "You may" in seat.text()
        assert seat.app.chat.query_one(Composer).text == "How long?"
        await seat.press("enter")
        await seat.sees("Not sent: the server does not answer yet. Your text stays here.")
        desk.down = False
        desk.release(20)
        await seat.sees("ready")
        await seat.press("enter")
        await seat.phase("done")
    assert len(desk.asked) == 2


async def test_a_console_without_a_server_starts_one_and_says_so(sit: Any, desk: FakeServer) -> None:
    desk.down = desk.may_start = True
    async with sit(desk, wait=False) as seat:
        await seat.sees("the server is starting")
        await seat.press(*"typed early")
        desk.state = "ready"
        await seat.until(lambda: seat.app.state.link is Link.READY)
        assert seat.app.chat.query_one(Composer).text == "typed early"
    assert desk.starts == 1


async def test_a_server_that_nobody_may_start_is_looked_for_until_it_is_there(sit: Any, desk: FakeServer) -> None:
    desk.down = True
    async with sit(desk, lang="zh", wait=False) as seat:
        await seat.sees("服务已断开：no server is running for this home。正在重连")
        await seat.until(lambda: seat.app.state.retry > 2)
        desk.down = False
        await seat.sees("就绪")
        assert seat.app.state.retry == 0


async def test_quitting_during_a_draft_cancels_it(sit: Any, desk: FakeServer) -> None:
    desk.hold()
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("sending")
        await seat.press("ctrl+q")
    assert desk.cancelled == 1
    assert desk.closed


def test_every_state_the_server_names_has_a_place() -> None:
    for state, link in {"starting": Link.STARTING, "ready": Link.READY, "stopping": Link.STOPPING}.items():
        assert link_event({"state": state, "bundle": "shop", "version": "1", "model": "m"}).link is link
    assert link_event({"state": "ready", "bundle": None, "version": None, "model": None}).bundle == ""
