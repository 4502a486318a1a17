"""How the screens look, by size and language. The clock stands still and no cursor blinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.scrollbar import ScrollBar

from runtime import events
from tests.support.console import INTERNAL, RETURNS, fill
from tui.app.console import Console
from tui.base.i18n import system_language
from tui.state import Health
from tui.testing.fake_server import FakeServer, answer

each_size = pytest.mark.parametrize(
    ("size", "lang"),
    [((80, 24), "en"), ((80, 24), "zh"), ((140, 40), "en"), ((140, 40), "zh")],
    ids=["80x24-en", "80x24-zh", "140x40-en", "140x40-zh"],
)
each_lang = pytest.mark.parametrize("lang", ["en", "zh"])
UNDERSTOOD = events.Understood(
    intent="express_late", intent_confidence="medium", emotion="angry", emotion_confidence="high"
)


def run_keys(*keys: str, phase: str = "", releases: int | None = None) -> Callable[[Pilot[None]], Any]:
    """Press keys once the server is ready, and wait until the draft is where it is wanted."""

    async def run(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Console)
        assert isinstance(app.server, FakeServer)
        while app.state.link != "ready" or (app.server.journal.turns and not app.state.inbox):
            await pilot.pause(0.01)
        for key in keys:
            if key == "settled":
                while app.state.current is None or app.state.current.busy or app.state.unsaved():
                    await pilot.pause(0.01)
            elif key == "shown":
                while getattr(app.screen, "found", True) == [] or getattr(app.screen, "_text", True) == "":
                    await pilot.pause(0.01)
            else:
                await pilot.press(key)
        if releases is not None:
            app.server.release(releases)
        while phase and (app.state.current is None or app.state.current.phase != phase):
            await pilot.pause(0.01)
        known = len(app.server.journal.turns)
        while len(app.state.inbox) < known:
            await pilot.pause(0.01)
        await pilot.pause()

    return run


def question(lang: str) -> list[str]:
    return [*("加急包裹迟到了怎么办" if lang == "zh" else "How long have I got?"), "enter"]


def script(server: FakeServer, lang: str) -> FakeServer:
    server.scripts = [server.scripts[lang == "zh"]]
    server.scripts[0].insert(1, UNDERSTOOD)
    return fill(server)


@each_size
def test_first_sight(
    snap_compare: Any, make_console: Any, server: FakeServer, size: tuple[int, int], lang: str
) -> None:
    assert snap_compare(make_console(fill(server), lang), terminal_size=size, run_before=run_keys())


@each_size
def test_draft_under_way(
    snap_compare: Any, make_console: Any, server: FakeServer, size: tuple[int, int], lang: str
) -> None:
    script(server, lang).hold()
    run = run_keys(*question(lang), phase="writing", releases=6)
    assert snap_compare(make_console(server, lang), terminal_size=size, run_before=run)


@each_size
def test_answer(snap_compare: Any, make_console: Any, server: FakeServer, size: tuple[int, int], lang: str) -> None:
    run = run_keys(*question(lang), "settled")
    assert snap_compare(make_console(script(server, lang), lang), terminal_size=size, run_before=run)


@each_lang
def test_edit_with_doubts(snap_compare: Any, make_console: Any, server: FakeServer, lang: str) -> None:
    run = run_keys(*question(lang), "settled", "f6", *" 45 €", "enter")
    assert snap_compare(make_console(script(server, lang), lang), terminal_size=(140, 40), run_before=run)


@each_lang
def test_answer_on_a_wide_terminal(snap_compare: Any, make_console: Any, server: FakeServer, lang: str) -> None:
    run = run_keys(*question(lang), "settled", "f5", "f5", "settled")
    assert snap_compare(make_console(script(server, lang), lang), terminal_size=(200, 60), run_before=run)


@each_lang
@pytest.mark.parametrize("pane", ["inbox", "assist"])
def test_one_pane(snap_compare: Any, make_console: Any, server: FakeServer, lang: str, pane: str) -> None:
    run = run_keys(*question(lang), "settled", *(["f4"] if pane == "assist" else ["f4", "f4"]))
    assert snap_compare(make_console(script(server, lang), lang), terminal_size=(80, 24), run_before=run)


@each_lang
def test_internal_source(snap_compare: Any, make_console: Any, server: FakeServer, lang: str) -> None:
    run = run_keys(*question(lang), "settled", "2", "c")
    assert snap_compare(make_console(script(server, lang), lang), terminal_size=(80, 24), run_before=run)


@each_lang
@pytest.mark.parametrize("box", ["reject", "wrap", "handoff", "help", "commands"])
def test_box(snap_compare: Any, make_console: Any, server: FakeServer, lang: str, box: str) -> None:
    key = {"reject": "f7", "wrap": "f12", "handoff": "f8", "help": "f1", "commands": "ctrl+p"}[box]
    run = run_keys(*question(lang), "settled", key, "shown")
    assert snap_compare(make_console(script(server, lang), lang), terminal_size=(80, 24), run_before=run)


async def test_the_linux_console_gets_no_sign_its_font_lacks(
    open_console: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fonts have the signs of the IBM PC, and the quotation marks and dots that Debian's add."""
    monkeypatch.setenv("TERM", "linux")
    monkeypatch.setattr(ScrollBar, "renderer", ScrollBar.renderer)  # put back afterwards
    server.scripts = [answer([f"line {n}\n" for n in range(60)], [RETURNS, INTERNAL])]
    for size in ((80, 25), (140, 40)):
        async with open_console(server, size=size) as console:
            assert console.app.words.lang == system_language() == "en"
            for keys in ([*"How long?", "enter"], ["f6"], ["escape", "f8"], ["escape", "f1"], ["escape", "f7"]):
                await console.press(*keys)
                await console.pilot.pause(0.05)
                signs = set(console.text()) - set("…“”‘’→\n")
                assert not {sign for sign in signs if not sign.encode("cp437", "ignore")}, console.text()
            server.scripts = [answer(["more"], [RETURNS])]


@each_lang
def test_disk_nearly_full(snap_compare: Any, make_console: Any, server: FakeServer, lang: str) -> None:
    server.branch_health = Health(engine=False, disk_low_mb=120)
    assert snap_compare(make_console(server, lang), terminal_size=(80, 24), run_before=run_keys())


@pytest.mark.parametrize("theme", ["light", "contrast"])
def test_theme(snap_compare: Any, make_console: Any, server: FakeServer, theme: str) -> None:
    run = run_keys(*question("en"), "settled")
    app = make_console(script(server, "en"), "en", theme=theme)
    assert snap_compare(app, terminal_size=(140, 40), run_before=run)
