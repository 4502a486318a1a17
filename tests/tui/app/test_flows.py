"""An agent's day, key by key, on the fake server."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.geometry import Offset

from tui.screens.article import ArticleScreen
from tui.screens.finder import FinderScreen
from tui.screens.help import HelpScreen
from tui.testing.fake_server import FakeServer, answer
from tui.widgets.composer import Composer
from tui.widgets.transcript import Transcript


async def test_ask_stream_open_a_citation_go_back_and_quit(open_console: Any, server: FakeServer) -> None:
    server.hold()
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("sending")
        server.release(2)
        await console.sees("reading 2 sources")
        server.release()
        await console.sees("queued, 2 ahead of you · about 3 s to wait")
        server.release()
        await console.sees("reading 300 of 812 tokens")
        await console.sees("[1] Returns > How long you have")
        await console.sees("[2] Goodwill > How far you may go (internal, do not quote)")
        server.release()
        await console.sees("You may")
        assert "30 days" not in console.text()
        server.release(3)
        await console.sees("within 30 days.")
        await console.sees("first word after 0.4 s · 25 tokens/s")
        await console.press("2")
        await console.sees("Up to 20 euros without asking.")
        assert "INTERNAL" in console.text()
        await console.press("1")
        await console.sees("within 30 days of delivery")
        assert "INTERNAL" not in console.text()
        await console.press("escape")
        await console.sees("How long?")
        await console.press("ctrl+q")
    assert server.asked == [("How long?", None)]
    assert server.closed


async def test_the_second_question_goes_on_in_the_conversation(open_console: Any, server: FakeServer) -> None:
    async with open_console(server, lang="zh") as console:
        await console.ask("How long?")
        await console.phase("done")
        # No key in between: a letter typed beside the question field starts the next question.
        await console.ask("加急包裹迟到了怎么办")
        await console.phase("done")
        await console.sees("加急包裹晚于承诺时间送达的，我们全额退还加急运费。")
        await console.sees("within 30 days.")
        await console.press("1")
        await console.sees("请在收货后7天内通过")
    assert server.asked[1] == ("加急包裹迟到了怎么办", "c1")


async def test_escape_cancels_and_gives_the_text_back(open_console: Any, server: FakeServer) -> None:
    server.hold()
    async with open_console(server) as console:
        await console.ask("How long?")
        server.release(5)
        await console.sees("You may")
        await console.press("escape")
        await console.sees("cancelled")
        await console.until(lambda: server.cancelled == 1)
        composer = console.app.chat.query_one(Composer)
        assert composer.text == "How long?"
        assert composer.has_focus
        assert "You may" in console.text()
        # The same text can be sent again at once.
        server.release(20)
        await console.press("enter")
        await console.phase("done")
    assert [question for question, _ in server.asked] == ["How long?", "How long?"]


async def test_a_newer_message_retires_the_draft_that_is_being_written(open_console: Any, server: FakeServer) -> None:
    """Must-have 4."""
    server.hold()
    async with open_console(server) as console:
        await console.ask("How long?")
        server.release(5)
        await console.sees("You may")
        await console.ask("And then?")
        await console.sees("Draft · outdated: the customer wrote again")
        await console.until(lambda: server.cancelled == 1)
        await console.press("f5")
        await console.sees("A draft is being written. Press Esc to cancel it.")
        server.release(20)
        await console.phase("done")
        assert [turn.retired for turn in console.app.state.turns] == ["newer", ""]
    assert [question for question, _ in server.asked] == ["How long?", "And then?"]


async def test_a_digit_in_the_question_field_is_a_digit_and_beside_it_a_source(
    open_console: Any, server: FakeServer
) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("tab", *"12")
        assert console.app.chat.query_one(Composer).text == "12"
        await console.press("tab", "1")
        await console.until(lambda: isinstance(console.app.screen, ArticleScreen))


async def test_a_burst_of_letters_beside_the_question_field_arrives_whole(
    open_console: Any, server: FakeServer
) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        for letter in "退第2个/款":
            console.app.post_message(events.Key(letter, letter))
        await console.until(lambda: console.app.chat.query_one(Composer).text == "退第2个/款")
        assert console.app.screen is console.app.chat


@pytest.mark.parametrize(
    ("key", "field"), [("ctrl+k", "#finder-field"), ("f8", "#finder-field"), ("f9", "#finder-field")]
)
async def test_what_is_typed_while_a_box_opens_is_typed_into_the_box(
    open_console: Any, server: FakeServer, key: str, field: str
) -> None:
    server.journal.pages["labels"] = {"intents": ["refund"], "emotions": []}
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("tab")
        for letter in (key, *"refund 退"):
            console.app.post_message(
                events.Key("space" if letter == " " else letter, letter if len(letter) == 1 else None)
            )
        await console.until(
            lambda: bool(console.app.screen.query(field)) and console.app.screen.query_one(field).value == "refund 退"
        )
        assert console.app.chat.query_one(Composer).text == ""


async def test_a_number_without_a_source_is_said_in_words(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("7")
        await console.sees("There is no source 7.")


async def test_the_mouse_opens_a_source_and_the_key_bar_works(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.sees("[2] Goodwill")
        row = next(n for n, line in enumerate(console.text().splitlines()) if "[2] Goodwill" in line)
        await console.pilot.click(offset=Offset(8, row))
        await console.sees("Up to 20 euros")
        row = console.text().splitlines()[-1]
        await console.pilot.click(offset=Offset(row.index("Back"), 23))
        await console.sees("How long?")


async def test_the_whole_article_is_one_key_away(open_console: Any, server: FakeServer) -> None:
    cited = server.scripts[0][1].citations[0]
    other = cited.model_copy(update={"section": "costs", "heading": "What it costs", "text": "Nothing."})
    server.article_page = {
        "article": "returns",
        "title": "Returns",
        "lang": "en",
        "sections": [cited.model_dump(), other.model_dump()],
    }
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("1", "a")
        await console.sees("What it costs")
        await console.press("a")
        await console.until(lambda: "What it costs" not in console.text())


async def test_an_article_that_cannot_be_had_leaves_the_section_on_screen(
    open_console: Any, server: FakeServer
) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("1", "a")
        await console.sees("The article cannot be loaded right now: no article 'returns'")
        assert "within 30 days of delivery" in console.text()


async def test_the_interface_language_changes_without_a_restart(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("2", "f2")
        await console.sees("内部资料：仅供员工使用")
        await console.press("escape")
        await console.sees("草稿")
        assert "Draft" not in console.text()
        await console.press("f1")
        await console.until(lambda: isinstance(console.app.screen, HelpScreen))
        await console.sees("取消草稿并取回消息")
        await console.press("f2")
        await console.sees("Cancel the draft and get the message back")


async def test_every_command_is_found_by_name(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.press("ctrl+p", *"contrast")
        await console.sees("Next theme: dark, light, high contrast  F3")
        await console.press("enter")
        await console.until(lambda: console.app.theme == "textual-light")
        await console.press("ctrl+p", *"articles")
        await console.sees("Search the articles  Ctrl+K")
        await console.press("enter")
        await console.until(
            lambda: isinstance(console.app.screen, FinderScreen) and console.app.screen.title_key == "knowledge.title"
        )


async def test_the_themes_go_round(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        names = [console.app.theme]
        for _ in range(3):
            await console.press("f3")
            names.append(console.app.theme)
    assert names == ["textual-dark", "textual-light", "edgedesk-contrast", "textual-dark"]


async def test_a_new_conversation_clears_the_screen_and_the_thread(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("ctrl+n")
        await console.sees("Type what the customer says")
        await console.ask("Next?")
        await console.phase("done")
    assert server.asked[1] == ("Next?", None)


async def test_ten_thousand_pasted_characters_arrive_inert(open_console: Any, server: FakeServer) -> None:
    text = "退货\x1b[2J and \u202e more\n" * 500
    async with open_console(server) as console:
        composer = console.app.chat.query_one(Composer)
        composer.post_message(events.Paste(text))
        await console.until(lambda: composer.text.count("\n") == 500)
        assert "\x1b" not in composer.text
        assert "\u202e" not in composer.text
        assert composer.text.count("\n") == 500


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter"])
async def test_a_question_may_have_several_lines(open_console: Any, server: FakeServer, key: str) -> None:
    async with open_console(server) as console:
        await console.press("a", key, "b", "enter")
        await console.phase("done")
    assert server.asked == [("a\nb", None)]


async def test_the_screen_follows_the_end_until_somebody_scrolls_up(open_console: Any) -> None:
    tokens = [f"line {n}\n" for n in range(60)]
    server = FakeServer([answer(tokens, [])])
    server.hold()
    async with open_console(server) as console:
        await console.ask("Long?")
        server.release(4 + 30)
        await console.sees("line 29")
        await console.press("pageup", "pageup")
        top = console.app.chat.query_one(Transcript).scroll_y
        server.release(20)
        await console.until(lambda: "line 49" in console.app.state.current.draft)
        await console.pilot.pause()
        assert console.app.chat.query_one(Transcript).scroll_y == top
        for _ in range(6):
            await console.press("pagedown")
        server.release(20)
        await console.sees("line 59")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (40, 15)])
async def test_the_question_field_is_never_on_the_last_two_rows(
    open_console: Any, server: FakeServer, size: tuple[int, int]
) -> None:
    async with open_console(server, size=size, lang="zh") as console:
        console.app.chat.query_one(Composer).post_message(events.Paste("退货" * 200))
        await console.sees("退货")
        assert console.app.chat.query_one(Composer).region.bottom <= size[1] - 2


async def test_what_is_typed_while_the_server_speaks_of_unsent_text_stays(
    open_console: Any, server: FakeServer
) -> None:
    async with open_console(server) as console:
        await console.ask("Return?")
        await console.phase("done")
        name, field = console.app.state.conversation, console.app.chat.query_one(Composer)
        path = f"/v1/conversations/{name}/composer"

        def type_meanwhile(method: str, where: str, answer: dict[str, Any]) -> None:
            if where != path:
                return
            if method == "PUT" and not field.text:
                field.insert("在圣诞节呢？")  # The field has it; the console has not heard of it yet.
            if method == "GET" and answer["text"] == "from another console" and field.text == "在圣诞节呢？":
                field.insert("元旦呢？")

        server.after_call = type_meanwhile
        await console.press("a")
        await console.until(lambda: server.journal.unsent.get(name, {}).get("text") == "a")
        await console.press("backspace")
        await console.until(lambda: server.journal.unsent[name]["text"] == "在圣诞节呢？")

        server.journal.unsent[name] = {"text": "from another console", "revision": 9}
        await console.until(lambda: server.journal.unsent[name]["text"] == "在圣诞节呢？元旦呢？")
        assert field.text == "在圣诞节呢？元旦呢？"
