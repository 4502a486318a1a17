"""A question is spoken, from the recording to the answer: command, server, console, in both languages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.perception.speech_models import SpeechModels
from tests.support.server import serving
from tests.support.speech import CHINESE, CHINESE_TEXT, ENGLISH, ENGLISH_TEXT, samples_of
from tui.app.console import Console
from tui.base.i18n import Catalogue
from tui.base.settings import ConsoleSettings
from tui.services.server_link import HttpServerLink
from tui.services.speech_input import MicrophoneInput
from tui.widgets.composer import Composer

SPOKEN = pytest.mark.parametrize(
    ("lang", "path", "text"), [("en", ENGLISH, ENGLISH_TEXT), ("zh", CHINESE, CHINESE_TEXT)]
)


@pytest.fixture
def hearing(make_home: Callable[..., Path], scripted_gguf: Path, speech_models: SpeechModels) -> Path:
    return make_home(scripted_gguf, speech=speech_models.folder)


def ask(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtime.cli.main", "ask", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
    )


@SPOKEN
def test_spoken_question_is_shown_then_answered(
    lang: str, path: Path, text: str, hearing: Path, tmp_path: Path
) -> None:
    recording = shutil.copy(path, tmp_path / "spoken question.flac")
    done = ask("--audio", recording, "--lang", lang, "--json")
    assert done.returncode == 0, done.stderr
    assert f"heard: {text}" in done.stderr
    said = json.loads(done.stdout)
    assert said["heard"] == text
    assert said["answer"]
    assert [one.name for one in hearing.rglob("*.flac")] == []


def test_recording_that_cannot_be_used_is_one_sentence(hearing: Path, tmp_path: Path) -> None:
    (tmp_path / "q.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    for given, code, said in (
        (("--audio", tmp_path / "q.wav"), 3, "cut short"),
        (("--audio", tmp_path / "none.wav"), 5, "no such file"),
        ((), 2, "no question"),
    ):
        done = ask(*given)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_bundle_without_a_recogniser_says_what_to_do(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    make_home(scripted_gguf)
    done = ask("--audio", ENGLISH)
    assert done.returncode == 5
    assert "carries no recogniser" in done.stderr
    assert "[speech]" in done.stderr


async def test_console_shows_what_is_spoken_before_it_is_asked(hearing: Path) -> None:
    spoken = CHINESE

    @contextmanager
    def microphone(take: Callable[[bytes], None]) -> Iterator[None]:
        take(samples_of(spoken).tobytes())
        yield

    with serving(hearing):
        app = Console(
            HttpServerLink(hearing, may_start=False),
            Catalogue("zh"),
            settings=ConsoleSettings(read_ahead=False),
            speech=MicrophoneInput(hearing, microphone),
        )
        async with app.run_test() as pilot:
            await _until(pilot, lambda: app.state.link == "ready")
            for path, text in ((CHINESE, CHINESE_TEXT), (ENGLISH, ENGLISH_TEXT)):
                spoken = path
                await pilot.press("f10")
                await _until(pilot, lambda: app.state.composer != "")
                await pilot.press("f10")
                await _until(pilot, lambda: app.state.notice is not None and app.state.notice.name == "talk_check")
                assert app.chat.query_one(Composer).text == text
                asked = len(app.state.turns)
                await pilot.press("enter")
                await _until(pilot, lambda wanted=asked + 1: _answered(app, wanted))  # type: ignore[misc]
                assert app.state.current is not None
                assert app.state.current.question == text
                app.words = app.words.other()


def _answered(app: Console, turns: int) -> bool:
    return len(app.state.turns) == turns and app.state.current is not None and app.state.current.phase == "done"


async def _until(pilot: object, wanted: Callable[[], bool]) -> None:
    for _ in range(3000):
        if wanted():
            return
        await pilot.pause(0.02)  # type: ignore[attr-defined]
    raise AssertionError("waited in vain")
