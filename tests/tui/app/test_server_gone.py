"""Whatever the server does, the console says it in words and loses nothing."""

from __future__ import annotations

from typing import Any

from runtime.client.answers import ServerStatus
from tui.services.server_link import link_event
from tui.state import Link
from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer


async def test_a_server_that_dies_in_the_middle_is_said_and_the_question_comes_back(
    open_console: Any, server: FakeServer
) -> None:
    server.hold()
    async with open_console(server) as console:
        await console.ask("How long?")
        server.release(5)
        await console.sees("You may")
        server.down = True
        server.release()
        await console.sees("the server is gone: no server is running for this home")
        await console.sees("no answer: the server went away in the middle")
        assert "You may" in console.text()
        assert console.app.chat.query_one(Composer).text == "How long?"
        await console.press("enter")
        await console.sees("Not sent: the server is not answering yet. Your text is still here.")
        server.down = False
        server.release(20)
        await console.sees("ready")
        await console.press("enter")
        await console.phase("done")
    assert len(server.asked) == 2


async def test_a_console_without_a_server_starts_one_and_says_so(open_console: Any, server: FakeServer) -> None:
    server.down = server.may_start = True
    async with open_console(server, wait=False) as console:
        await console.sees("Starting: loading the model")
        await console.press(*"typed early")
        server.state = "ready"
        await console.until(lambda: console.app.state.link is Link.READY)
        assert console.app.chat.query_one(Composer).text == "typed early"
    assert server.starts == 1


async def test_a_server_that_nobody_may_start_is_looked_for_until_it_is_there(
    open_console: Any, server: FakeServer
) -> None:
    server.down = True
    async with open_console(server, lang="zh", wait=False) as console:
        await console.sees("服务已断开：no server is running for this home。正在重连")
        await console.until(lambda: console.app.state.retry > 2)
        server.down = False
        await console.sees("就绪")
        assert console.app.state.retry == 0


async def test_quitting_during_a_draft_cancels_it(open_console: Any, server: FakeServer) -> None:
    server.hold()
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("sending")
        await console.press("ctrl+q")
    assert server.cancelled == 1
    assert server.closed


def test_every_state_the_server_names_has_a_place() -> None:
    for state, link in {"starting": Link.STARTING, "ready": Link.READY, "stopping": Link.STOPPING}.items():
        assert link_event(ServerStatus(state=state, bundle="shop", version="1", model="m")).link is link
    assert link_event(ServerStatus(state="ready")).bundle == ""
