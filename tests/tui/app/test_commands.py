"""Labels, hand-offs, canned replies and searches."""

from __future__ import annotations

from typing import Any

from runtime import events
from tests.support.console import RETURNS
from tui.screens.finder import FinderScreen
from tui.screens.page import PageScreen
from tui.state import Mode
from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer

ANGRY = events.Understood(
    intent="delivery_inquiry", intent_confidence="low", emotion="angry", emotion_confidence="high"
)


def wrote(server: FakeServer, ending: str) -> list[dict[str, Any]]:
    return [body for _, path, body in server.journal.written if path.endswith(ending)]


async def test_chips_say_how_sure_they_are_in_words_and_one_key_corrects_them(
    open_console: Any, plain: FakeServer
) -> None:
    plain.scripts[0].insert(1, ANGRY)
    plain.journal.pages["labels"] = {"intents": ["delivery_inquiry", "return_request"], "emotions": ["angry", "calm"]}
    async with open_console(plain) as console:
        await console.ask("Where is it?!")
        await console.phase("done")
        await console.sees("Intent  delivery inquiry  low")
        await console.sees("Emotion  angry  high")
        await console.press("f9")
        await console.sees("return request")
        await console.press(*"return")
        await console.until(lambda: [one.value for one in console.app.screen.found] == [("intent", "return_request")])
        await console.press("enter")
        await console.sees("Intent  return request  corrected by an agent")
    assert wrote(plain, "turns/1/labels") == [{"intent": "return_request"}]


async def test_a_hand_off_has_a_card(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("I want to complain")
        await console.phase("done")
        await console.press("f8")
        await console.sees("a complaint")
        await console.press(*"complaint", "enter")
        await console.until(lambda: isinstance(console.app.screen, PageScreen))
        await console.sees("Open questions")
        await console.sees("I want to complain")
        await console.press("escape")
        await console.sees("A person must answer this: a complaint (not taken yet)")
        await console.press("f8")
        await console.sees("Take it")
        await console.press(*"take", "enter")
        await console.sees("a complaint (taken)")
    assert wrote(plain, "handoffs/c1/1") == [{"state": "open", "reason": "complaint"}, {"state": "taken"}]


async def test_a_slash_brings_canned_replies(open_console: Any, plain: FakeServer) -> None:
    rows = [{"id": "hi", "title": "Greeting", "text": "Hello!"}, {"id": "bye", "title": "Goodbye", "text": "再见！"}]
    plain.journal.pages["canned"] = {"canned": rows}
    async with open_console(plain) as console:
        await console.ask("Thanks")
        await console.phase("done")
        await console.press("tab", "slash")
        await console.sees("Greeting")
        await console.press(*"good")
        await console.until(lambda: len(console.app.screen.found) == 1)
        await console.press("enter")
        await console.until(lambda: console.app.chat.query_one(Composer).text == "再见！")
        assert console.app.state.mode is Mode.REPLY


async def test_articles_and_past_conversations_are_searched(open_console: Any, plain: FakeServer) -> None:
    old = plain.journal.ask("old", "包裹在哪里", "zh")
    old |= {"state": "complete", "draft": "在路上。"}
    plain.search_hits = [RETURNS]
    async with open_console(plain) as console:
        await console.press("ctrl+f")
        await console.until(lambda: isinstance(console.app.screen, FinderScreen))
        console.app.screen.query_one("#finder-field").value = "包裹"
        await console.sees("包裹在哪里")
        await console.press("enter")
        await console.sees("在路上。")
        assert console.app.state.conversation == "old"
        await console.press("ctrl+k", *"returns")
        await console.sees("Returns > How long you have")
        await console.press("enter")
        await console.sees("within 30 days of delivery")
        await console.press("c")
        await console.until(lambda: console.app.state.mode is Mode.REPLY)
        assert console.app.chat.query_one(Composer).text == RETURNS.text
