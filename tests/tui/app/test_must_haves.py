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


def wrote(server: FakeServer, ending: str) -> list[dict[str, Any]]:
    return [body for _, path, body in server.journal.written if path.endswith(ending)]


@pytest.fixture
def plain() -> FakeServer:
    """A draft with one public source, and a second one."""
    return FakeServer([answer(["You may return it ", "within 30 days."], [RETURNS]) for _ in range(4)])


@pytest.mark.parametrize(
    ("width", "panes"), [(80, 1), (100, 2), (140, 3), (200, 3)], ids=["80x24", "100x30", "140x40", "200x60"]
)
async def test_1_panes_stand_side_by_side_or_one_at_a_time(
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


async def test_1_another_conversation_is_opened_from_the_inbox_and_a_draft_goes_on_behind(
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


async def test_2_nothing_reaches_the_customer_without_the_agent(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.sees("Draft · not sent")
        assert wrote(plain, "feedback") == []
        await console.press("1")
        await console.sees("within 30 days of delivery")


async def test_3_accept_is_one_key_and_stored_as_a_pair(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f5")
        await console.sees("Your reply · sent as drafted")
        await console.until(lambda: console.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reply"]) == ("accepted", "You may return it within 30 days.")


async def test_3_edit_is_one_key_and_draft_and_reply_are_a_preference_pair(
    open_console: Any, plain: FakeServer
) -> None:
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


async def test_3_leaving_the_edit_keeps_it_and_the_message_begun_before(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press(*"and", "f6", *"!!", "escape")
        await console.until(lambda: console.app.state.mode is Mode.CUSTOMER)
        assert console.app.chat.query_one(Composer).text == "and"
        await console.press("f6")
        await console.until(lambda: console.app.chat.query_one(Composer).text.endswith("30 days.!!"))


async def test_3_reject_takes_a_reason_and_the_right_answer(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f7")
        await console.until(lambda: isinstance(console.app.screen, RejectScreen))
        await console.sees("What would have been right")
        await console.press("5", *"14 天", "ctrl+s")
        await console.sees("Draft · rejected · out of date")
        await console.sees("Right answer")
        await console.until(lambda: console.app.state.unsaved() == [])
    (said,) = wrote(plain, "turns/1/feedback")
    assert (said["verdict"], said["reason"], said["reply"]) == ("rejected", "outdated", "14 天")


async def test_3_a_verdict_waits_for_the_server(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        plain.down = True
        await console.sees("the server is gone")
        await console.press("f5")
        await console.sees("not stored yet")
        plain.down = False
        await console.until(lambda: console.app.state.unsaved() == [])
    assert wrote(plain, "feedback")[0]["verdict"] == "accepted"


async def test_4_a_sent_reply_retires_the_draft(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f5")
        await console.sees("sent as drafted")
        await console.press("f5")
        await console.sees("A reply was sent already.")
        await console.press("f6")
        await console.sees("A reply was sent already.")
        assert len(wrote(plain, "feedback")) == 1


async def test_4_a_newer_message_retires_the_draft_before_it(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.ask("And then?")
        await console.sees("Draft · retired: a newer message came")
        await console.phase("done")
        await console.press("f5")
        await console.until(lambda: console.app.state.unsaved() == [])
    assert [path for _, path, _ in plain.journal.written if path.endswith("feedback")] == [
        "conversations/c1/turns/2/feedback"
    ]


async def test_4_a_reply_from_another_console_retires_the_draft_here(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        plain.journal.call("POST", "conversations/c1/turns/1/feedback", {"verdict": "edited", "reply": "30 天"}, {})
        await console.sees("30 天")
        await console.press("f5")
        await console.sees("A reply was sent already.")


async def test_5_a_console_killed_in_mid_draft_shows_it_again(
    open_console: Any, plain: FakeServer, tmp_path: Path
) -> None:
    plain.hold()
    async with open_console(plain, folder=tmp_path) as console:
        await console.ask("How long?")
        plain.release(5)
        await console.sees("You may return it")
        await console.press(*"还有")
        await console.until(lambda: "还有" in _read(tmp_path))
        # As a kill would leave it: what the file says now, and the server's own journal.
        kept = _read(tmp_path)
    (tmp_path / "console.json").write_text(kept, encoding="utf-8")
    async with open_console(plain, folder=tmp_path) as console:
        await console.sees("You may return it")
        await console.sees("How long?")
        assert console.app.chat.query_one(Composer).text == "还有"


def _read(folder: Path) -> str:
    path = folder / "console.json"
    return path.read_text(encoding="utf-8") if path.exists() else ""


async def test_5_a_verdict_the_server_never_got_outlives_the_console(
    open_console: Any, plain: FakeServer, tmp_path: Path
) -> None:
    async with open_console(plain, folder=tmp_path) as console:
        await console.ask("How long?")
        await console.phase("done")
        plain.down = True
        await console.sees("the server is gone")
        await console.press("f5")
        await console.sees("not stored yet")
    assert wrote(plain, "feedback") == []
    plain.down = False
    async with open_console(plain, folder=tmp_path) as console:
        await console.until(lambda: wrote(plain, "feedback") != [])
        await console.sees("sent as drafted")
    assert wrote(plain, "feedback")[0]["reply"] == "You may return it within 30 days."


async def test_5_two_consoles_of_one_agent_agree_on_what_is_typed(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as one, open_console(plain) as two:
        await one.ask("How long?")
        await one.phase("done")
        two.app.actions.open_conversation("c1")
        await two.sees("How long?")
        await one.press("f6", *" 你好")
        await two.until(lambda: two.app.chat.query_one(Composer).text == "You may return it within 30 days. 你好")
        assert two.app.state.mode is Mode.REPLY
        await two.press("!")
        await one.until(lambda: one.app.chat.query_one(Composer).text.endswith("你好!"))


async def test_6_chips_say_how_sure_they_are_in_words_and_one_key_corrects_them(
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
        await console.sees("Intent  return request  corrected by hand")
    assert wrote(plain, "turns/1/labels") == [{"intent": "return_request"}]


async def test_7_a_hand_off_has_a_card(open_console: Any, plain: FakeServer) -> None:
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
        await console.sees("A person must answer this: a complaint (nobody has it yet)")
        await console.press("f8")
        await console.sees("Take it")
        await console.press(*"take", "enter")
        await console.sees("a complaint (taken)")
    assert wrote(plain, "handoffs/c1/1") == [{"state": "open", "reason": "complaint"}, {"state": "taken"}]


async def test_8_a_slash_brings_canned_replies(open_console: Any, plain: FakeServer) -> None:
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


async def test_8_articles_and_past_conversations_are_searched(open_console: Any, plain: FakeServer) -> None:
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


async def test_9_an_internal_source_is_marked_and_warned_about_before_it_is_quoted(
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
        await console.sees("The same key sends it anyway.")
        assert console.app.state.current.verdict == ""
        await console.press("enter")
        await console.until(lambda: console.app.state.current.verdict == "edited")


async def test_10_copy_goes_to_the_terminal_and_into_a_file(
    open_console: Any, plain: FakeServer, tmp_path: Path
) -> None:
    async with open_console(plain, folder=tmp_path) as console:
        await console.ask("How long?")
        await console.phase("done")
        written: list[str] = []
        console.app._driver.write = written.append
        await console.press("ctrl+y")
        await console.sees("Copied, 33 characters; also in")
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


async def test_11_another_key_sends_and_enter_begins_a_line(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, keys={"send": "ctrl+s"}, lang="zh") as console:
        await console.press("a", "enter", "b")
        assert console.app.chat.query_one(Composer).text == "a\nb"
        await console.sees("Ctrl+S 发送")
        await console.press("ctrl+s")
        await console.phase("done")
    assert plain.asked == [("a\nb", None)]


async def test_12_the_time_is_told_step_by_step(open_console: Any, plain: FakeServer) -> None:
    plain.hold()
    async with open_console(plain, size=(140, 40)) as console:
        await console.ask("How long?")
        plain.release(3)
        await console.sees("in the queue, 2 before you · about 3 s to wait")
        plain.release()
        await console.sees("reading 300 of 812 tokens")
        plain.release(10)
        await console.sees("first word after 0.4 s · 25 tokens/s")


async def test_12_what_is_typed_is_read_along_and_a_setting_turns_it_off(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, read_ahead=True) as console:
        await console.press(*"how long")
        await console.sees("read along: 2 tokens, the draft begins at once")
        await console.press("enter")
        await console.phase("done")
        assert plain.asked == [("how long", "c1")]
        before = len(plain.typed)
        await console.press("ctrl+p", *"along", "enter")
        await console.sees("Messages are read only when you send them.")
        await console.press(*"and then")
        await console.pilot.pause(0.5)
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
    open_console: Any, plain: FakeServer, health: Health, words: str
) -> None:
    async with open_console(plain, size=(100, 30)) as console:
        plain.branch_health = health
        await console.sees(words)
        plain.branch_health = Health()
        await console.until(lambda: words not in console.text())


async def test_a_figure_without_a_source_is_marked_before_it_is_sent(open_console: Any, plain: FakeServer) -> None:
    """The promise guard."""
    async with open_console(plain) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f6", *" 50 euros", "enter")
        await console.sees("No source has it: 50 euros")
        assert console.app.state.current.verdict == ""
        await console.press("backspace")
        await console.until(lambda: not console.app.state.doubts)
        await console.press(*"s", "enter", "enter")
        await console.until(lambda: console.app.state.current.verdict == "edited")
