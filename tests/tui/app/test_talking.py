"""The push-to-talk key: what is heard stands in the field, and whatever the agent does goes before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import MissingError
from runtime.perception.live_speech import LiveText
from tests.support.console import ConsoleDriver
from tui.services.speech_input import MicrophoneInput, Speaking
from tui.testing.fake_server import FakeServer


class ScriptedSpeech:
    """Somebody who says what the test tells them to."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[LiveText] = asyncio.Queue()
        self.langs: list[str] = []
        self.listening = False
        self.ended = False

    @asynccontextmanager
    async def listen(self, lang: str) -> AsyncIterator[Speaking]:
        self.langs.append(lang)
        self.listening, self.ended = True, False
        try:
            yield self
        finally:
            self.listening = False

    def say(self, text: str, *, final: bool = False) -> None:
        self.said.put_nowait(LiveText(text=text, seconds=1.0, final=final))

    def end(self) -> None:
        self.ended = True

    async def texts(self) -> AsyncIterator[LiveText]:
        while True:
            said = await self.said.get()
            yield said
            if said.final:
                return


async def noticed(console: ConsoleDriver, name: str) -> None:
    await console.until(lambda: console.app.state.notice is not None and console.app.state.notice.name == name)


@pytest.mark.parametrize(
    ("lang", "pieces"),
    [("en", ("Where is", "Where is my", "Where is my parcel?")), ("zh", ("我的", "我的包裹", "我的包裹在哪里？"))],
)
async def test_speech_grows_in_the_field_and_is_not_sent(
    lang: str, pieces: tuple[str, str, str], open_console: Any, plain: FakeServer
) -> None:
    speech = ScriptedSpeech()
    async with open_console(plain, lang=lang, speech=speech) as console:
        await console.press("f10")
        await noticed(console, "talk_on")
        for piece in pieces[:2]:
            speech.say(piece)
            await console.until(lambda piece=piece: console.app.state.composer == piece)
        await console.press("f10")
        assert speech.ended
        speech.say(pieces[2], final=True)
        await noticed(console, "talk_check")
        assert console.app.state.composer == pieces[2]
        assert console.app.state.turns == ()
        assert not speech.listening
    assert speech.langs == [lang]


async def test_speech_goes_behind_what_was_typed(open_console: Any, plain: FakeServer) -> None:
    speech = ScriptedSpeech()
    async with open_console(plain, speech=speech) as console:
        await console.press(*"Hello", "f10")
        await noticed(console, "talk_on")
        speech.say("where is it?", final=True)
        await noticed(console, "talk_check")
        assert console.app.state.composer == "Hello where is it?"


async def test_typing_while_somebody_speaks_ends_it_and_stays(open_console: Any, plain: FakeServer) -> None:
    speech = ScriptedSpeech()
    async with open_console(plain, speech=speech) as console:
        await console.press("f10")
        await noticed(console, "talk_on")
        speech.say("Where is")
        await console.until(lambda: console.app.state.composer == "Where is")
        await console.press("!")
        await console.until(lambda: "!" in console.app.state.composer)
        typed = console.app.state.composer
        speech.say("Where is my parcel?")
        await noticed(console, "talk_stopped")
        assert console.app.state.composer == typed
        await console.until(lambda: not speech.listening)


async def test_silence_and_a_console_that_cannot_hear_are_said(open_console: Any, plain: FakeServer) -> None:
    speech = ScriptedSpeech()
    async with open_console(plain, speech=speech) as console:
        await console.press("f10")
        await noticed(console, "talk_on")
        speech.say("", final=True)
        await noticed(console, "talk_silence")
    async with open_console(plain) as console:
        await console.press("f10")
        await noticed(console, "talk_none")


async def test_what_is_missing_is_said_with_what_to_do(
    open_console: Any, plain: FakeServer, make_home: Any, scripted_gguf: Path
) -> None:
    """A bundle without a recogniser, and a machine without a microphone."""

    @asynccontextmanager
    async def refused(_: str) -> AsyncIterator[Speaking]:
        raise MissingError("no microphone can be read here", hint="plug one in")
        yield  # type: ignore[unreachable]

    speech = ScriptedSpeech()
    speech.listen = refused  # type: ignore[method-assign]
    async with open_console(plain, speech=speech, size=(120, 30)) as console:
        await console.press("f10")
        await console.sees("no microphone can be read here. plug one in")
    home = make_home(scripted_gguf)
    async with open_console(plain, speech=MicrophoneInput(home), size=(200, 30)) as console:
        await console.press("f10")
        await console.sees("carries no recogniser")
