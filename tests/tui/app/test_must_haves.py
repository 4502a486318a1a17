"""Each numbered must-have of an agents' console, key by key, on a desk that says what it is told."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from runtime import events
from tests.tui.conftest import RETURNS
from tui.screens.finder import FinderScreen
from tui.screens.page import PageScreen
from tui.screens.reject import RejectScreen
from tui.services import clipboard
from tui.state import Health, Mode
from tui.testing.fake_server import FakeServer, answer
from tui.widgets.composer import Composer

ANGRY = events.Understood(
    intent="delivery_inquiry", intent_confidence="low", emotion="angry", emotion_confidence="high"
)


def wrote(desk: FakeServer, ending: str) -> list[dict[str, Any]]:
    return [body for _, path, body in desk.books.wrote if path.endswith(ending)]


@pytest.fixture
def plain() -> FakeServer:
    """A draft with one public source, and a second one."""
    return FakeServer([answer(["You may return it ", "within 30 days."], [RETURNS]) for _ in range(4)])


@pytest.mark.parametrize(
    ("width", "panes"), [(80, 1), (100, 2), (140, 3), (200, 3)], ids=["80x24", "100x30", "140x40", "200x60"]
)
async def test_1_panes_stand_side_by_side_or_one_at_a_time(sit: Any, plain: FakeServer, width: int, panes: int) -> None:
    async with sit(plain, size=(width, 24 if width == 80 else 40)) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        names = ("inbox", "talk", "assist")
        seen = set()
        for _ in names:
            shown = [name for name in names if seat.app.chat.query_one(f"#{name}").display]
            assert len(shown) == panes
            assert seat.app.chat.pane in shown
            seen.update(shown)
            await seat.press("f4")
            await seat.pilot.pause()
        assert seen == set(names)


async def test_1_another_conversation_is_opened_from_the_inbox_and_a_draft_goes_on_behind(
    sit: Any, plain: FakeServer
) -> None:
    old = plain.books.ask("old", "Where is my parcel?", "en")
    old |= {"state": "complete", "draft": "On its way."}
    plain.hold()
    async with sit(plain) as seat:
        await seat.ask("How long?")
        plain.release(5)
        await seat.sees("You may return it")
        await seat.press("f4", "f4", "f4", "f4")  # once around, and on to the inbox's neighbour
        while seat.app.chat.pane != "inbox":
            await seat.press("f4")
        await seat.sees("Where is my parcel?")
        await seat.press("home")
        while seat.app.chat.query_one("#inbox-list").highlighted_option.id != "old":
            await seat.press("down")
        await seat.press("enter")
        await seat.sees("On its way.")
        plain.release(20)
        first = seat.app.state.threads[0]
        await seat.until(lambda: seat.app.state.threads[0].turns[-1].phase == "done")
        assert first.conversation == "c1"
        assert "30 days" not in seat.text()
        assert plain.cancelled == 0


async def test_2_nothing_reaches_the_customer_without_the_agent(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.sees("Draft · not sent")
        assert wrote(plain, "feedback") == []
        await seat.press("1")
        await seat.sees("within 30 days of delivery")


async def test_3_accept_is_one_key_and_stored_as_a_pair(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("f5")
        await seat.sees("Your reply · sent as drafted")
        await seat.until(lambda: seat.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reply"]) == ("accepted", "You may return it within 30 days.")


async def test_3_edit_is_one_key_and_draft_and_reply_are_a_preference_pair(sit: Any, plain: FakeServer) -> None:
    async with sit(plain, lang="zh") as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("f6")
        await seat.until(lambda: seat.app.state.mode is Mode.REPLY)
        assert seat.app.chat.query_one(Composer).text == "You may return it within 30 days."
        await seat.press(*" 谢谢")
        await seat.press("enter")
        await seat.sees("修改后发送")
        await seat.sees("You may return it within 30 days. 谢谢")
        await seat.until(lambda: seat.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reply"]) == ("edited", "You may return it within 30 days. 谢谢")


async def test_3_leaving_the_edit_keeps_it_and_the_message_begun_before(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press(*"and", "f6", *"!!", "escape")
        await seat.until(lambda: seat.app.state.mode is Mode.CUSTOMER)
        assert seat.app.chat.query_one(Composer).text == "and"
        await seat.press("f6")
        await seat.until(lambda: seat.app.chat.query_one(Composer).text.endswith("30 days.!!"))


async def test_3_reject_takes_a_reason_and_the_right_answer(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("f7")
        await seat.until(lambda: isinstance(seat.app.screen, RejectScreen))
        await seat.sees("What would have been right")
        await seat.press("5", *"14 天", "ctrl+s")
        await seat.sees("Draft · rejected · out of date")
        await seat.sees("Right answer")
        await seat.until(lambda: seat.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reason"], said["reply"]) == ("rejected", "outdated", "14 天")


async def test_3_a_verdict_waits_for_the_server(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        plain.down = True
        await seat.sees("the server is gone")
        await seat.press("f5")
        await seat.sees("not stored yet")
        plain.down = False
        await seat.until(lambda: seat.app.state.unsaved() == [])
    assert wrote(plain, "feedback")[0]["verdict"] == "accepted"


async def test_4_a_sent_reply_retires_the_draft(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("f5")
        await seat.sees("sent as drafted")
        await seat.press("f5")
        await seat.sees("A reply was sent already.")
        await seat.press("f6")
        await seat.sees("A reply was sent already.")
        assert len(wrote(plain, "feedback")) == 1


async def test_4_a_newer_message_retires_the_draft_before_it(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.ask("And then?")
        await seat.sees("Draft · retired: a newer message came")
        await seat.phase("done")
        await seat.press("f5")
        await seat.until(lambda: seat.app.state.unsaved() == [])
    assert [path for _, path, _ in plain.books.wrote if path.endswith("feedback")] == [
        "conversations/c1/turns/2/feedback"
    ]


async def test_4_a_reply_from_another_console_retires_the_draft_here(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        plain.books.put("POST", "conversations/c1/turns/1/feedback", {"verdict": "edited", "reply": "30 天"})
        await seat.sees("30 天")
        await seat.press("f5")
        await seat.sees("A reply was sent already.")


async def test_5_a_console_killed_in_mid_draft_shows_it_again(sit: Any, plain: FakeServer, tmp_path: Path) -> None:
    plain.hold()
    async with sit(plain, folder=tmp_path) as seat:
        await seat.ask("How long?")
        plain.release(5)
        await seat.sees("You may return it")
        await seat.press(*"还有")
        await seat.until(lambda: "还有" in _read(tmp_path))
        # As a kill would leave it: what the file says now, and the server's own journal.
        kept = _read(tmp_path)
    (tmp_path / "console.json").write_text(kept, encoding="utf-8")
    async with sit(plain, folder=tmp_path) as seat:
        await seat.sees("You may return it")
        await seat.sees("How long?")
        assert seat.app.chat.query_one(Composer).text == "还有"


def _read(folder: Path) -> str:
    path = folder / "console.json"
    return path.read_text(encoding="utf-8") if path.exists() else ""


async def test_5_a_verdict_the_server_never_got_outlives_the_console(
    sit: Any, plain: FakeServer, tmp_path: Path
) -> None:
    async with sit(plain, folder=tmp_path) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        plain.down = True
        await seat.sees("the server is gone")
        await seat.press("f5")
        await seat.sees("not stored yet")
    assert wrote(plain, "feedback") == []
    plain.down = False
    async with sit(plain, folder=tmp_path) as seat:
        await seat.until(lambda: wrote(plain, "feedback") != [])
        await seat.sees("sent as drafted")
    assert wrote(plain, "feedback")[0]["reply"] == "You may return it within 30 days."


async def test_5_two_consoles_of_one_agent_agree_on_what_is_typed(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as one, sit(plain) as two:
        await one.ask("How long?")
        await one.phase("done")
        two.app.doing.open_conversation("c1")
        await two.sees("How long?")
        await one.press("f6", *" 你好")
        await two.until(lambda: two.app.chat.query_one(Composer).text == "You may return it within 30 days. 你好")
        assert two.app.state.mode is Mode.REPLY
        await two.press("!")
        await one.until(lambda: one.app.chat.query_one(Composer).text.endswith("你好!"))


async def test_6_chips_say_how_sure_they_are_in_words_and_one_key_corrects_them(sit: Any, plain: FakeServer) -> None:
    plain.scripts[0].insert(1, ANGRY)
    plain.books.pages["labels"] = {"intents": ["delivery_inquiry", "return_request"], "emotions": ["angry", "calm"]}
    async with sit(plain) as seat:
        await seat.ask("Where is it?!")
        await seat.phase("done")
        await seat.sees("Intent  delivery inquiry  low")
        await seat.sees("Emotion  angry  high")
        await seat.press("f9")
        await seat.sees("return request")
        await seat.press(*"return")
        await seat.until(lambda: [one.value for one in seat.app.screen.found] == [("intent", "return_request")])
        await seat.press("enter")
        await seat.sees("Intent  return request  corrected by hand")
    assert wrote(plain, "turns/1/labels") == [{"intent": "return_request"}]


async def test_7_a_hand_off_has_a_card(sit: Any, plain: FakeServer) -> None:
    async with sit(plain) as seat:
        await seat.ask("I want to complain")
        await seat.phase("done")
        await seat.press("f8")
        await seat.sees("a complaint")
        await seat.press(*"complaint", "enter")
        await seat.until(lambda: isinstance(seat.app.screen, PageScreen))
        await seat.sees("Open questions")
        await seat.sees("I want to complain")
        await seat.press("escape")
        await seat.sees("A person must answer this: a complaint (nobody has it yet)")
        await seat.press("f8")
        await seat.sees("Take it")
        await seat.press(*"take", "enter")
        await seat.sees("a complaint (taken)")
    assert wrote(plain, "handoffs/c1/1") == [{"state": "open", "reason": "complaint"}, {"state": "taken"}]


async def test_8_a_slash_brings_canned_replies(sit: Any, plain: FakeServer) -> None:
    rows = [{"id": "hi", "title": "Greeting", "text": "Hello!"}, {"id": "bye", "title": "Goodbye", "text": "再见！"}]
    plain.books.pages["canned"] = {"canned": rows}
    async with sit(plain) as seat:
        await seat.ask("Thanks")
        await seat.phase("done")
        await seat.press("tab", "slash")
        await seat.sees("Greeting")
        await seat.press(*"good")
        await seat.until(lambda: len(seat.app.screen.found) == 1)
        await seat.press("enter")
        await seat.until(lambda: seat.app.chat.query_one(Composer).text == "再见！")
        assert seat.app.state.mode is Mode.REPLY


async def test_8_articles_and_past_conversations_are_searched(sit: Any, plain: FakeServer) -> None:
    old = plain.books.ask("old", "包裹在哪里", "zh")
    old |= {"state": "complete", "draft": "在路上。"}
    plain.found = [RETURNS]
    async with sit(plain) as seat:
        await seat.press("ctrl+f")
        await seat.until(lambda: isinstance(seat.app.screen, FinderScreen))
        seat.app.screen.query_one("#finder-field").value = "包裹"
        await seat.sees("包裹在哪里")
        await seat.press("enter")
        await seat.sees("在路上。")
        assert seat.app.state.conversation == "old"
        await seat.press("ctrl+k", *"returns")
        await seat.sees("Returns > How long you have")
        await seat.press("enter")
        await seat.sees("within 30 days of delivery")
        await seat.press("c")
        await seat.until(lambda: seat.app.state.mode is Mode.REPLY)
        assert seat.app.chat.query_one(Composer).text == RETURNS.text


async def test_9_an_internal_source_is_marked_and_warned_about_before_it_is_quoted(sit: Any, desk: FakeServer) -> None:
    async with sit(desk) as seat:
        await seat.ask("How much may you give me?")
        await seat.phase("done")
        await seat.sees("(internal, do not quote)")
        await seat.press("2", "c")
        await seat.sees("This is internal. Press the key again")
        await seat.press("c")
        await seat.until(lambda: seat.app.state.mode is Mode.REPLY)
        await seat.press("enter")
        await seat.sees("From an internal source: Goodwill > How far you may go")
        await seat.sees("The same key sends it anyway.")
        assert seat.app.state.current.verdict == ""
        await seat.press("enter")
        await seat.until(lambda: seat.app.state.current.verdict == "edited")


async def test_10_copy_goes_to_the_terminal_and_into_a_file(sit: Any, plain: FakeServer, tmp_path: Path) -> None:
    async with sit(plain, folder=tmp_path) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        written: list[str] = []
        seat.app._driver.write = written.append
        await seat.press("ctrl+y")
        await seat.sees("Copied, 33 characters; also in")
        text = base64.b64encode(b"You may return it within 30 days.").decode()
        assert any(f"\x1b]52;c;{text}\x07" in one for one in written)
    kept = tmp_path / "clipboard.txt"
    assert kept.read_text() == "You may return it within 30 days."
    assert kept.stat().st_mode & 0o777 == 0o600


def test_10_copy_is_wrapped_for_tmux_and_screen() -> None:
    plain = clipboard.sequence("退货", {})
    assert base64.b64decode(plain.removeprefix("\x1b]52;c;").removesuffix("\x07")).decode() == "退货"
    wrapped = clipboard.sequence("退货", {"TMUX": "/tmp/tmux"})
    assert wrapped == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"
    assert clipboard.sequence("退货", {"STY": "1"}) == f"\x1bP{plain}\x1b\\"
    assert clipboard.sequence("x" * 100_000, {}) == ""


async def test_11_another_key_sends_and_enter_begins_a_line(sit: Any, plain: FakeServer) -> None:
    async with sit(plain, keys={"send": "ctrl+s"}, lang="zh") as seat:
        await seat.press("a", "enter", "b")
        assert seat.app.chat.query_one(Composer).text == "a\nb"
        await seat.sees("Ctrl+S 发送")
        await seat.press("ctrl+s")
        await seat.phase("done")
    assert plain.asked == [("a\nb", None)]


async def test_12_the_time_is_told_step_by_step(sit: Any, plain: FakeServer) -> None:
    plain.hold()
    async with sit(plain, size=(140, 40)) as seat:
        await seat.ask("How long?")
        plain.release(3)
        await seat.sees("in the queue, 2 before you · about 3 s to wait")
        plain.release()
        await seat.sees("reading 300 of 812 tokens")
        plain.release(10)
        await seat.sees("first word after 0.4 s · 25 tokens/s")


async def test_12_what_is_typed_is_read_along_and_a_setting_turns_it_off(sit: Any, plain: FakeServer) -> None:
    async with sit(plain, read_ahead=True) as seat:
        await seat.press(*"how long")
        await seat.sees("read along: 2 tokens, the draft begins at once")
        await seat.press("enter")
        await seat.phase("done")
        assert plain.asked == [("how long", "c1")]
        before = len(plain.typed)
        await seat.press("ctrl+p", *"along", "enter")
        await seat.sees("Messages are read only when you send them.")
        await seat.press(*"and then")
        await seat.pilot.pause(0.5)
        assert len(plain.typed) == before


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (Health(engine=False), "the model is being restarted: no drafts for a moment; articles, search"),
        (Health(disk_low_mb=120), "the disk is nearly full: 120 MB left. Answers still work"),
        (Health(updating=True), "an update is being installed; everything works meanwhile"),
        (Health(newer="shop 2"), "shop 2 is installed and comes with the next start"),
        (Health(waiting=7), "offline, 7 wait to leave the branch"),
    ],
    ids=["degraded", "disk", "updating", "newer", "offline"],
)
async def test_13_what_is_out_of_order_is_said_with_what_still_works(
    sit: Any, plain: FakeServer, health: Health, words: str
) -> None:
    async with sit(plain, size=(100, 30)) as seat:
        plain.troubles = health
        await seat.sees(words)
        plain.troubles = Health()
        await seat.until(lambda: words not in seat.text())


async def test_a_figure_without_a_source_is_marked_before_it_is_sent(sit: Any, plain: FakeServer) -> None:
    """The promise guard."""
    async with sit(plain) as seat:
        await seat.ask("How long?")
        await seat.phase("done")
        await seat.press("f6", *" 50 euros", "enter")
        await seat.sees("No source has it: 50 euros")
        assert seat.app.state.current.verdict == ""
        await seat.press("backspace")
        await seat.until(lambda: not seat.app.state.doubts)
        await seat.press(*"s", "enter", "enter")
        await seat.until(lambda: seat.app.state.current.verdict == "edited")
