"""What an agent makes of a draft: accept, edit, reject, and what retires it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tui.screens.reject import RejectScreen
from tui.state import Mode
from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer


def wrote(server: FakeServer, ending: str) -> list[dict[str, Any]]:
    return [body for _, path, body in server.journal.written if path.endswith(ending)]


async def test_nothing_reaches_the_customer_without_the_agent(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.sees("Draft · not sent")
        assert wrote(plain, "feedback") == []
        await console.press("1")
        await console.sees("within 30 days of delivery")


async def test_accept_is_one_key_and_stored_as_a_pair(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f5")
        await console.sees("Your reply · sent as drafted")
        await console.until(lambda: console.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reply"]) == ("accepted", "You may return it within 30 days.")


async def test_verdict_that_is_on_its_way_when_the_agent_quits_reaches_the_server(
    open_console: Any, plain: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it waited in the session file, and an export made meanwhile lacked it."""
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        send, tried = plain.agents.send_feedback, asyncio.Event()

        async def slow(*words: Any) -> Any:
            if not tried.is_set():  # the first is given up with the console's other work
                tried.set()
                await asyncio.Event().wait()
            return await send(*words)

        monkeypatch.setattr(plain.agents, "send_feedback", slow)
        await console.press("f5")
        await tried.wait()
    (said,) = wrote(plain, "turns/1/feedback")
    assert said["verdict"] == "accepted"


async def test_edit_is_one_key_and_draft_and_reply_are_a_preference_pair(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, lang="zh") as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f6")
        await console.until(lambda: console.app.state.mode is Mode.REPLY)
        assert console.app.chat.query_one(Composer).text == "You may return it within 30 days."
        await console.press(*" 谢谢")
        await console.press("enter")
        await console.sees("修改后发送")
        await console.sees("You may return it within 30 days. 谢谢")
        await console.until(lambda: console.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reply"]) == ("edited", "You may return it within 30 days. 谢谢")


async def test_leaving_the_edit_keeps_it_and_the_message_begun_before(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press(*"and", "f6", *"!!", "escape")
        await console.until(lambda: console.app.state.mode is Mode.CUSTOMER)
        assert console.app.chat.query_one(Composer).text == "and"
        await console.press("f6")
        await console.until(lambda: console.app.chat.query_one(Composer).text.endswith("30 days.!!"))


async def test_reject_takes_a_reason_and_the_right_answer(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f7")
        await console.until(lambda: isinstance(console.app.screen, RejectScreen))
        await console.sees("The right answer")
        await console.press("5", *"14 天", "ctrl+s")
        await console.sees("Draft · rejected · out of date")
        await console.sees("Right answer")
        await console.until(lambda: console.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reason"], said["reply"]) == ("rejected", "outdated", "14 天")


async def test_a_verdict_waits_for_the_server(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        plain.down = True
        await console.sees("the server is gone")
        await console.press("f5")
        await console.sees("not saved yet")
        plain.down = False
        await console.until(lambda: console.app.state.unsaved() == [])
    assert wrote(plain, "feedback")[0]["verdict"] == "accepted"


async def test_a_sent_reply_retires_the_draft(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f5")
        await console.sees("sent as drafted")
        await console.press("f5")
        await console.sees("A reply has already been sent.")
        await console.press("f6")
        await console.sees("A reply has already been sent.")
        assert len(wrote(plain, "feedback")) == 1


async def test_a_newer_message_retires_the_draft_before_it(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.ask("And then?")
        await console.sees("Draft · outdated: the customer wrote again")
        await console.phase("done")
        await console.press("f5")
        await console.until(lambda: console.app.state.unsaved() == [])
    assert [path for _, path, _ in plain.journal.written if path.endswith("feedback")] == [
        "conversations/c1/turns/2/feedback"
    ]


async def test_a_reply_from_another_console_retires_the_draft_here(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        plain.journal.call("POST", "conversations/c1/turns/1/feedback", {"verdict": "edited", "reply": "30 天"}, {})
        await console.sees("30 天")
        await console.press("f5")
        await console.sees("A reply has already been sent.")


async def test_an_internal_source_is_marked_and_warned_about_before_it_is_quoted(
    open_console: Any, server: FakeServer
) -> None:
    async with open_console(server) as console:
        await console.ask("How much may you give me?")
        await console.phase("done")
        await console.sees("(internal, do not quote)")
        await console.press("2", "c")
        await console.sees("This is internal. Press the key again")
        await console.press("c")
        await console.until(lambda: console.app.state.mode is Mode.REPLY)
        await console.press("enter")
        await console.sees("From an internal source: Goodwill > How far you may go")
        await console.sees("Press the same key again")
        assert console.app.state.current.verdict == ""
        await console.press("enter")
        await console.until(lambda: console.app.state.current.verdict == "edited")


async def test_a_figure_without_a_source_is_marked_before_it_is_sent(open_console: Any, plain: FakeServer) -> None:
    """The promise guard."""
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f6", *" 50 euros", "enter")
        await console.sees("Not in any source: 50 euros")
        assert console.app.state.current.verdict == ""
        await console.press("backspace")
        await console.until(lambda: not console.app.state.doubts)
        await console.press(*"s", "enter", "enter")
        await console.until(lambda: console.app.state.current.verdict == "edited")
