"""An agent's day, key by key, on a desk that says what it is told."""

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


async def test_ask_stream_open_a_citation_go_back_and_quit(sit: Any, desk: FakeServer) -> None:
    desk.hold()
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("sending")
        desk.release(2)
        await seat.sees("reading 2 sources")
        desk.release()
        await seat.sees("in the queue, 2 before you · about 3 s to wait")
        desk.release()
        await seat.sees("reading 300 of 812 tokens")
        await seat.sees("[1] Returns > How long you have")
        await seat.sees("[2] Goodwill > How far you may go (internal, do not quote)")
        desk.release()
        await seat.sees("You may")
        assert "30 days" not in seat.text()
        desk.release(3)
        await seat.sees("within 30 days.")
        await seat.sees("first word after 0.4 s · 25 tokens/s")
        await seat.press("2")
        await seat.sees("Up to 20 euros without asking.")
        assert "INTERNAL" in seat.text()
        await seat.press("1")
        await seat.sees("within 30 days of delivery")
        assert "INTERNAL" not in seat.text()
        await seat.press("escape")
        await seat.sees("How long?")
        await seat.press("ctrl+q")
    assert desk.asked == [("How long?", None)]
    assert desk.closed


async def test_the_second_question_goes_on_in_the_conversation(sit: Any, desk: FakeServer) -> None:
    async with sit(desk, lang="zh") as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        # No key in between: a letter typed beside the question field starts the next question.
        await seat.ask("加急包裹迟到了怎么办")
        await seat.phase("done")
        await seat.sees("加急包裹晚于承诺时间送达的，我们全额退还加急运费。")
        await seat.sees("within 30 days.")
        await seat.press("1")
        await seat.sees("请在收货后7天内通过")
    assert desk.asked[1] == ("加急包裹迟到了怎么办", "c1")


async def test_escape_cancels_and_gives_the_text_back(sit: Any, desk: FakeServer) -> None:
    desk.hold()
    async with sit(desk) as seat:
        await seat.ask("How long?")
        desk.release(5)
        await seat.sees("You may")
        await seat.press("escape")
        await seat.sees("cancelled")
        await seat.until(lambda: desk.cancelled == 1)
        composer = seat.app.chat.query_one(Composer)
        assert composer.text == "How long?"
        assert composer.has_focus
        assert "You may" in seat.text()
        # The same text can be sent again at once.
        desk.release(20)
        await seat.press("enter")
        await seat.phase("done")
    assert [question for question, _ in desk.asked] == ["How long?", "How long?"]


async def test_a_newer_message_retires_the_draft_that_is_being_written(sit: Any, desk: FakeServer) -> None:
    """Must-have 4."""
    desk.hold()
    async with sit(desk) as seat:
        await seat.ask("How long?")
        desk.release(5)
        await seat.sees("You may")
        await seat.ask("And then?")
        await seat.sees("Draft · retired: a newer message came")
        await seat.until(lambda: desk.cancelled == 1)
        await seat.press("f5")
        await seat.sees("A draft is being written. Esc cancels it.")
        desk.release(20)
        await seat.phase("done")
        assert [turn.retired for turn in seat.app.state.turns] == ["newer", ""]
    assert [question for question, _ in desk.asked] == ["How long?", "And then?"]


async def test_a_digit_in_the_question_field_is_a_digit_and_beside_it_a_source(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("tab", *"12")
        assert seat.app.chat.query_one(Composer).text == "12"
        await seat.press("tab", "1")
        await seat.until(lambda: isinstance(seat.app.screen, ArticleScreen))


async def test_a_burst_of_letters_beside_the_question_field_arrives_whole(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        for letter in "退第2个/款":
            seat.app.post_message(events.Key(letter, letter))
        await seat.until(lambda: seat.app.chat.query_one(Composer).text == "退第2个/款")
        assert seat.app.screen is seat.app.chat


@pytest.mark.parametrize(
    ("key", "field"), [("ctrl+k", "#finder-field"), ("f8", "#finder-field"), ("f9", "#finder-field")]
)
async def test_what_is_typed_while_a_box_opens_is_typed_into_the_box(
    sit: Any, desk: FakeServer, key: str, field: str
) -> None:
    desk.books.pages["labels"] = {"intents": ["refund"], "emotions": []}
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("tab")
        for letter in (key, *"refund 退"):
            seat.app.post_message(
                events.Key("space" if letter == " " else letter, letter if len(letter) == 1 else None)
            )
        await seat.until(
            lambda: bool(seat.app.screen.query(field)) and seat.app.screen.query_one(field).value == "refund 退"
        )
        assert seat.app.chat.query_one(Composer).text == ""


async def test_a_number_without_a_source_is_said_in_words(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("7")
        await seat.sees("There is no source 7.")


async def test_the_mouse_opens_a_source_and_the_key_bar_works(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.sees("[2] Goodwill")
        row = next(n for n, line in enumerate(seat.text().splitlines()) if "[2] Goodwill" in line)
        await seat.pilot.click(offset=Offset(8, row))
        await seat.sees("Up to 20 euros")
        row = seat.text().splitlines()[-1]
        await seat.pilot.click(offset=Offset(row.index("Back"), 23))
        await seat.sees("How long?")


async def test_the_whole_article_is_one_key_away(sit: Any, desk: FakeServer) -> None:
    cited = desk.scripts[0][1].citations[0]
    other = cited.model_copy(update={"section": "costs", "heading": "What it costs", "text": "Nothing."})
    desk.page = {
        "article": "returns",
        "title": "Returns",
        "lang": "en",
        "sections": [cited.model_dump(), other.model_dump()],
    }
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("1", "a")
        await seat.sees("What it costs")
        await seat.press("a")
        await seat.until(lambda: "What it costs" not in seat.text())


async def test_an_article_that_cannot_be_had_leaves_the_section_on_screen(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("1", "a")
        await seat.sees("The article cannot be read now: no article 'returns'")
        assert "within 30 days of delivery" in seat.text()


async def test_the_interface_language_changes_without_a_restart(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("2", "f2")
        await seat.sees("内部资料：仅供员工使用")
        await seat.press("escape")
        await seat.sees("草稿")
        assert "Draft" not in seat.text()
        await seat.press("f1")
        await seat.until(lambda: isinstance(seat.app.screen, HelpScreen))
        await seat.sees("取消草稿，消息放回输入框")
        await seat.press("f2")
        await seat.sees("Cancel the draft, the message comes back")


async def test_every_command_is_found_by_name(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.press("ctrl+p", *"contrast")
        await seat.sees("Next theme: dark, light, high contrast  F3")
        await seat.press("enter")
        await seat.until(lambda: seat.app.theme == "textual-light")
        await seat.press("ctrl+p", *"articles")
        await seat.sees("Search the articles  Ctrl+K")
        await seat.press("enter")
        await seat.until(
            lambda: isinstance(seat.app.screen, FinderScreen) and seat.app.screen.title_key == "knowledge.title"
        )


async def test_the_themes_go_round(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        names = [seat.app.theme]
        for _ in range(3):
            await seat.press("f3")
            names.append(seat.app.theme)
    assert names == ["textual-dark", "textual-light", "edgedesk-contrast", "textual-dark"]


async def test_a_new_conversation_clears_the_screen_and_the_thread(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("ctrl+n")
        await seat.sees("Type what the customer says")
        await seat.ask("Next?")
        await seat.phase("done")
    assert desk.asked[1] == ("Next?", None)


async def test_ten_thousand_pasted_characters_arrive_inert(sit: Any, desk: FakeServer) -> None:
    text = "退货\x1b[2J and \u202e more\n" * 500
    async with sit(desk) as seat:
        composer = seat.app.chat.query_one(Composer)
        composer.post_message(events.Paste(text))
        await seat.until(lambda: len(composer.text) > len(text))
        assert "\x1b" not in composer.text
        assert "\u202e" not in composer.text
        assert composer.text.count("\n") == 500


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter"])
async def test_a_question_may_have_several_lines(sit: Any, desk: FakeServer, key: str) -> None:
    async with sit(desk) as seat:
        await seat.press("a", key, "b", "enter")
        await seat.phase("done")
    assert desk.asked == [("a\nb", None)]


async def test_the_screen_follows_the_end_until_somebody_scrolls_up(sit: Any) -> None:
    tokens = [f"line {n}\n" for n in range(60)]
    desk = FakeServer([answer(tokens, [])])
    desk.hold()
    async with sit(desk) as seat:
        await seat.ask("Long?")
        desk.release(4 + 30)
        await seat.sees("line 29")
        await seat.press("pageup", "pageup")
        top = seat.app.chat.query_one(Transcript).scroll_y
        desk.release(20)
        await seat.until(lambda: "line 49" in seat.app.state.current.draft)
        await seat.pilot.pause()
        assert seat.app.chat.query_one(Transcript).scroll_y == top
        for _ in range(6):
            await seat.press("pagedown")
        desk.release(20)
        await seat.sees("line 59")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (40, 15)])
async def test_the_question_field_is_never_on_the_last_two_rows(
    sit: Any, desk: FakeServer, size: tuple[int, int]
) -> None:
    async with sit(desk, size=size, lang="zh") as seat:
        seat.app.chat.query_one(Composer).post_message(events.Paste("退货" * 200))
        await seat.sees("退货")
        assert seat.app.chat.query_one(Composer).region.bottom <= size[1] - 2


async def test_what_is_typed_while_the_server_speaks_of_unsent_text_stays(
    sit: Any, desk: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sit(desk) as seat:
        await seat.ask("Return?")
        await seat.phase("done")
        name, field = seat.app.state.conversation, seat.app.chat.query_one(Composer)
        path = f"conversations/{name}/composer"
        put, get = desk.put, desk.get

        async def type_after_put(method: str, where: str, body: dict[str, Any]) -> dict[str, Any]:
            said = await put(method, where, body)
            if where == path and not field.text:
                field.insert("在圣诞节呢？")  # The field has it; nobody has been told.
            return said

        async def type_after_get(where: str, **params: Any) -> dict[str, Any]:
            said = await get(where, **params)
            if where == path and said["text"] == "from another console" and field.text == "在圣诞节呢？":
                field.insert("元旦呢？")
            return said

        monkeypatch.setattr(desk, "put", type_after_put)
        await seat.press("a")
        await seat.until(lambda: desk.books.composers.get(name, {}).get("text") == "a")
        await seat.press("backspace")
        await seat.until(lambda: desk.books.composers[name]["text"] == "在圣诞节呢？")

        monkeypatch.setattr(desk, "get", type_after_get)
        desk.books.composers[name] = {"text": "from another console", "revision": 9}
        await seat.until(lambda: desk.books.composers[name]["text"] == "在圣诞节呢？元旦呢？")
        assert field.text == "在圣诞节呢？元旦呢？"
