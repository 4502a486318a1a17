"""Pasting into every field of the console: lines stay lines, nothing invisible comes in, nothing is sent by itself."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.widgets import Input, TextArea

from tui.base.limits import MAX_SEARCH_CHARS, MAX_TEXT_CHARS
from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer

LINES = {
    "en": ("Where is my\u00ad parcel?\rOrder\u200b 12\r\nThank\u202e you", "Where is my parcel?\nOrder 12\nThank you"),
    "zh": ("我的\u200b包裹呢？\r订单\u00ad 1234\r\n谢谢\u200f", "我的包裹呢？\n订单 1234\n谢谢"),
}
DRAFT = "You may return it within 30 days."


def _burst(console: Any, text: str) -> None:
    """A paste as a terminal without bracketed paste hands it over: keys, all read at once."""
    for char in text:
        key = {"\r": "enter", "\t": "tab", " ": "space"}.get(char, char)
        event = events.Key(key, None if key in ("enter", "tab") else char)
        console.app.post_message(event)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("field", "keys"),
    [("message", []), ("reply", ["f6"]), ("right answer", ["f7", "1"]), ("note", ["f12", "tab", "tab"])],
)
async def test_paste_of_several_lines_keeps_them(
    open_console: Any, server: FakeServer, lang: str, field: str, keys: list[str]
) -> None:
    pasted, clean = LINES[lang]
    async with open_console(server, lang=lang, size=(100, 40)) as console:
        await console.ask("?")
        await console.phase("done")
        await console.press(*keys)
        if field in ("right answer", "note"):
            await console.until(lambda: isinstance(console.app.focused, TextArea))
        (console.app.focused or console.app.screen).post_message(events.Paste(pasted))
        area = console.app.screen.query_one(TextArea)
        before = DRAFT if field == "reply" else ""
        await console.until(lambda: area.text == before + clean)
    assert len(server.asked) == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("key", ["ctrl+k", "ctrl+f"])
async def test_paste_into_a_search_is_one_line(open_console: Any, server: FakeServer, lang: str, key: str) -> None:
    pasted, clean = LINES[lang]
    async with open_console(server, lang=lang) as console:
        await console.press(key)
        await console.until(lambda: isinstance(console.app.focused, Input))
        console.app.focused.post_message(events.Paste(pasted))
        field = console.app.screen.query_one(Input)
        await console.until(lambda: field.value == " ".join(clean.split()))
        console.app.focused.post_message(events.Paste("x" * (MAX_SEARCH_CHARS + 1)))
        await console.until(
            lambda: f"{MAX_SEARCH_CHARS:,}" in str(console.app.screen.query_one("#box").border_subtitle)
        )
        assert field.value == " ".join(clean.split())


@pytest.mark.parametrize("text", ["one\rtwo\rthree", "退货\r\r运费\t12\r", "a\rb", "\rx\ry", "1\r/2\r3"])
async def test_paste_that_comes_as_keys_sends_nothing(open_console: Any, server: FakeServer, text: str) -> None:
    async with open_console(server) as console:
        _burst(console, text)
        composer = console.app.chat.query_one(Composer)
        wanted = text.replace("\r", "\n").replace("\t", "    ")
        await console.until(lambda: composer.text == wanted)
        assert server.asked == []
        await console.press("enter")
        await console.until(lambda: [question for question, _ in server.asked] == [wanted.strip()])


async def test_paste_that_comes_as_keys_beside_the_field_is_text(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("?")
        await console.phase("done")
        _burst(console, "where is 1234\rand 2\r")
        composer = console.app.chat.query_one(Composer)
        await console.until(lambda: composer.text == "where is 1234\nand 2\n")
        assert len(server.asked) == 1


async def test_paste_that_comes_as_keys_chooses_nothing_in_a_list(open_console: Any, server: FakeServer) -> None:
    server.journal.pages["canned"] = {"canned": [{"id": "a", "title": "one two", "text": "text"}]}
    async with open_console(server) as console:
        await console.press("slash")
        await console.until(lambda: isinstance(console.app.focused, Input))
        _burst(console, "one\rtwo")
        field = console.app.screen.query_one(Input)
        await console.until(lambda: field.value == "one two")
        await console.press("enter")
        await console.until(lambda: console.app.state.composer == "text")


async def test_line_typed_while_the_machine_is_busy_is_sent(open_console: Any, server: FakeServer) -> None:
    """A starved console reads a typed line and its Enter together, as it would a paste."""
    async with open_console(server) as console:
        _burst(console, "where is it\r")
        await console.until(lambda: [question for question, _ in server.asked] == ["where is it"])


async def test_choice_typed_while_the_machine_is_busy_is_made(open_console: Any, server: FakeServer) -> None:
    """The same in a field of one line: the Enter chooses, and is no space of a paste."""
    async with open_console(server) as console:
        await console.ask("?")
        await console.phase("done")
        await console.press("f8")
        await console.until(lambda: isinstance(console.app.focused, Input))
        _burst(console, "complaint\r")
        await console.sees("Open questions")
        assert console.app.state.turns[-1].handoff == "complaint"


async def test_tab_in_a_paste_is_text_and_after_typing_leaves_the_field(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("?")
        await console.phase("done")
        await console.press("tab")
        _burst(console, "order\t12")
        composer = console.app.chat.query_one(Composer)
        await console.until(lambda: composer.text == "order    12")
        _burst(console, "3\t")
        await console.until(lambda: console.app.focused is not composer)
        assert composer.text == "order    123"


async def test_enter_after_typing_sends(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.press(*"hi", "enter")
        await console.until(lambda: [question for question, _ in server.asked] == ["hi"])


async def test_paste_beside_the_field_is_text_or_refused(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("?")
        await console.phase("done")
        console.app.post_message(events.Paste("长" * (MAX_TEXT_CHARS + 1)))
        await console.sees(f"Too long: at most {MAX_TEXT_CHARS:,} characters.")
        await console.press("f4", "f4")
        console.app.post_message(events.Paste("one\rtwo"))
        await console.until(lambda: console.app.state.composer == "one\ntwo")


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_paste_beyond_the_limit_is_refused_and_everything_else_works(
    open_console: Any, server: FakeServer, lang: str
) -> None:
    async with open_console(server, lang=lang, size=(100, 30)) as console:
        await console.press(*"kept ")
        composer = console.app.chat.query_one(Composer)
        composer.post_message(events.Paste("长" * (MAX_TEXT_CHARS + 1)))
        await console.sees(f"{MAX_TEXT_CHARS:,}")
        assert composer.text == "kept "
        assert console.app.state.link == "ready"
        await console.press("enter")
        await console.phase("done")
        assert [question for question, _ in server.asked] == ["kept"]


async def test_text_beyond_the_limit_is_not_sent_and_the_link_stays_up(open_console: Any, server: FakeServer) -> None:
    """Typed, quoted and canned text may add up to more than a paste may have."""
    async with open_console(server, size=(100, 30)) as console:
        await console.ask("?")
        await console.phase("done")
        looks = server.looks
        composer = console.app.chat.query_one(Composer)
        composer.load_text("x" * MAX_TEXT_CHARS)
        await console.press("y", "enter")
        await console.sees(f"at most {MAX_TEXT_CHARS:,} characters")
        await console.until(lambda: server.looks > looks + 2)
        assert console.app.state.link == "ready"
        assert len(composer.text) == MAX_TEXT_CHARS + 1
        assert len(server.asked) == 1
        composer.load_text("short")
        await console.press("enter")
        await console.until(lambda: len(server.asked) == 2)
