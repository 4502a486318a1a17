"""Fixtures of the console's tests: the fake server, a console on it with a clock that stands still, a terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.console import CHINESE_ANSWER, ENGLISH_ANSWER, NOW, RETURNS, ConsoleDriver, OpenConsole
from tests.support.terminal import Terminal
from tui.app.console import Console
from tui.base.i18n import Catalogue
from tui.base.settings import ConsoleSettings
from tui.services.speech_input import SpeechInput
from tui.testing.fake_server import FakeServer, answer


@pytest.fixture
def server() -> FakeServer:
    """Knows an English answer, then a Chinese one."""
    return FakeServer([list(ENGLISH_ANSWER), list(CHINESE_ANSWER)])


@pytest.fixture
def make_console() -> Callable[..., Console]:
    def make(
        server: FakeServer,
        lang: str = "en",
        folder: Path | None = None,
        speech: SpeechInput | None = None,
        **settings: Any,
    ) -> Console:
        return Console(
            server,
            Catalogue(lang),
            settings=ConsoleSettings(**{"read_ahead": False} | settings),
            folder=folder,
            speech=speech,
            clock=lambda: 0.0,
            today=lambda: NOW,
            poll_s=0.05,
            retry_s=(0.01,),
            frame_s=0.0,
        )

    return make


@pytest.fixture
def open_console(make_console: Callable[..., Console]) -> OpenConsole:
    """`async with open_console(server) as console:` a running console, its server ready unless `wait=False`."""

    @asynccontextmanager
    async def open_driver(
        server: FakeServer, *, lang: str = "en", size: tuple[int, int] = (80, 24), wait: bool = True, **more: Any
    ) -> AsyncIterator[ConsoleDriver]:
        app = make_console(server, lang, **more)
        async with app.run_test(size=size) as pilot:
            console = ConsoleDriver(app, server, pilot)
            if wait:
                await console.until(lambda: app.state.link == "ready")
            yield console

    return open_driver


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    window = Terminal(tmp_path_factory.mktemp("tty"), 80, 24)
    yield window
    # Closing the window hangs up on the console, which stops the server it started.
    subprocess.run(["tmux", "-S", window.socket, "kill-server"], capture_output=True, check=False)
    os.close(window.painted)


@pytest.fixture
def plain() -> FakeServer:
    """A draft with one public source, and a second one."""
    return FakeServer([answer(["You may return it ", "within 30 days."], [RETURNS]) for _ in range(4)])
