"""What the console tells the server while an agent types: pauses, sentence ends, and that a text went on."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events

from runtime.client.answers import AheadFigures
from tui.app.reports import supervisor_page
from tui.base.i18n import Catalogue
from tui.testing.fake_server import FakeServer


def commit(console: Any, text: str) -> None:
    """What an input method hands over: a phrase at once."""
    console.app.screen.focused.post_message(events.Paste(text))


async def test_pause_is_told_as_a_possible_end_and_typing_on_at_once(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, read_ahead=True) as console:
        await console.press(*"how long")
        await console.until(lambda: plain.paused == ["how long"])
        before = len(plain.typed)
        await console.press(*" may")
        await console.until(lambda: len(plain.paused) == 2)
        # First that the text went on, for which nothing waited; then, after the next pause, what it is now.
        assert plain.typed[before].startswith("how long m")
        assert plain.paused == ["how long", "how long may"]
        assert plain.typed.index(plain.typed[before]) < len(plain.typed) - 1
        await console.press("enter")
        await console.phase("done")
        assert plain.asked == [("how long may", "c1")]


@pytest.mark.parametrize(("text", "lang"), [("May I?", "en"), ("可以退货吗？", "zh")])
async def test_sentence_end_needs_no_pause(
    open_console: Any, plain: FakeServer, text: str, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.app.sync.AHEAD_S", 3600.0)
    async with open_console(plain, read_ahead=True, lang=lang) as console:
        commit(console, text[:-1])
        await console.pilot.pause()
        assert plain.paused == []
        commit(console, text[-1])
        await console.until(lambda: plain.paused == [text])


async def test_phrases_of_an_input_method_are_told_as_they_are_committed(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, read_ahead=True, lang="zh") as console:
        # A terminal hands over a committed phrase as a burst of keys, or as one paste.
        await console.press(*"多长时间")
        await console.until(lambda: plain.paused == ["多长时间"])
        commit(console, "内可以退货")
        await console.until(lambda: plain.paused[-1:] == ["多长时间内可以退货"])
        assert plain.typed == ["多长时间", "多长时间内可以退货", "多长时间内可以退货"]
        commit(console, "？")
        await console.until(lambda: plain.paused[-1] == "多长时间内可以退货？")
        await console.press("enter")
        await console.phase("done")
        assert plain.asked == [("多长时间内可以退货？", "c1")]


async def test_text_that_was_not_sent_leaves_the_server_with_the_console(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, read_ahead=True) as console:
        await console.press(*"how long")
        await console.until(lambda: plain.paused == ["how long"])
    assert plain.typed[-1] == ""


@pytest.mark.parametrize(
    ("lang", "words"), [("en", "the draft has begun: Enter shows it"), ("zh", "草稿已开始撰写，按 Enter 即可看到")]
)
async def test_draft_that_has_begun_is_told_to_the_agent_until_the_text_goes_on(
    open_console: Any, plain: FakeServer, monkeypatch: pytest.MonkeyPatch, lang: str, words: str
) -> None:
    typing = plain.typing

    async def drafted(text: str, conversation: str | None, *, paused: bool) -> Any:
        said = await typing(text, conversation, paused=paused)
        return said.model_copy(update={"written": 6 if text else 0})

    monkeypatch.setattr(plain, "typing", drafted)
    async with open_console(plain, read_ahead=True, lang=lang) as console:
        await console.press(*"how long?")
        await console.sees(words)
        monkeypatch.setattr("tui.app.sync.AHEAD_S", 3600.0)
        await console.press("x")
        await console.until(lambda: words not in console.text())


@pytest.mark.parametrize(
    ("lang", "lines"),
    [
        (
            "en",
            [
                "3 of 5 drafts begun were used",
                "32 of 80 tokens written were for nothing",
                "12.5 s of processor time",
            ],
        ),
        ("zh", ["预写 5 份草稿，用上 3 份", "预写 80 个词元，其中 32 个未用上", "占用处理器 12.5 秒"]),
    ],
)
def test_overview_tells_what_drafts_before_enter_cost(lang: str, lines: list[str]) -> None:
    words = Catalogue(lang)
    figures = AheadFigures(drafts=5, used=3, tokens_written=80, tokens_wasted=32, processor_s=12.5)
    assert supervisor_page([], {}, [], figures, words) == [(words("supervisor.ahead"), lines)]
    assert supervisor_page([], {}, [], AheadFigures(), words) == []
