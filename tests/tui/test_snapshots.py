"""How the screens look, at two sizes and in two languages. The clock stands still and no cursor blinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tui.app import Console
from tui.fake import FakeDesk

SIZES = [(80, 24), (120, 40)]
each_look = pytest.mark.parametrize(
    ("size", "lang"), [(size, lang) for size in SIZES for lang in ("en", "zh")], ids=lambda value: str(value)
)


def shown(keys: list[str], phase: str = "", releases: int | None = None) -> Callable[[Pilot[None]], Any]:
    """Press keys once the server is ready, and wait until the draft is where it is wanted."""

    async def run(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Console)
        assert isinstance(app.desk, FakeDesk)
        while app.state.link != "ready":
            await pilot.pause(0.01)
        await pilot.press(*keys)
        if releases is not None:
            app.desk.release(releases)
        while phase and (app.state.current is None or app.state.current.phase != phase):
            await pilot.pause(0.01)
        await pilot.pause()

    return run


def question(lang: str) -> list[str]:
    return [*("加急包裹迟到了怎么办" if lang == "zh" else "How long have I got?"), "enter"]


def script(desk: FakeDesk, lang: str) -> FakeDesk:
    desk.scripts = [desk.scripts[lang == "zh"]]
    return desk


@each_look
def test_first_sight(snap_compare: Any, make_console: Any, desk: FakeDesk, size: tuple[int, int], lang: str) -> None:
    assert snap_compare(make_console(desk, lang), terminal_size=size, run_before=shown([]))


@each_look
def test_draft_under_way(
    snap_compare: Any, make_console: Any, desk: FakeDesk, size: tuple[int, int], lang: str
) -> None:
    script(desk, lang).hold()
    run = shown(question(lang), "writing", releases=5)
    assert snap_compare(make_console(desk, lang), terminal_size=size, run_before=run)


@each_look
def test_answer(snap_compare: Any, make_console: Any, desk: FakeDesk, size: tuple[int, int], lang: str) -> None:
    run = shown(question(lang), "done")
    assert snap_compare(make_console(script(desk, lang), lang), terminal_size=size, run_before=run)


@each_look
def test_internal_source(
    snap_compare: Any, make_console: Any, desk: FakeDesk, size: tuple[int, int], lang: str
) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await shown(question(lang), "done")(pilot)
        await pilot.press("2")
        await pilot.pause()

    assert snap_compare(make_console(script(desk, lang), lang), terminal_size=size, run_before=run)


@each_look
def test_help(snap_compare: Any, make_console: Any, desk: FakeDesk, size: tuple[int, int], lang: str) -> None:
    assert snap_compare(make_console(desk, lang), terminal_size=size, run_before=shown(["f1"]))
