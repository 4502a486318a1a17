"""A long day: 500 turns in one console, and it does not grow."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from runtime.base.progress import say
from tests.support.console import RETURNS
from tui.state import MAX_TURNS, NewConversation, Typed
from tui.state.state import MAX_THREADS
from tui.testing.fake_server import FakeServer, answer

TURNS = 500
A_CUSTOMER = 10
"""Turns of one conversation."""
GROWTH_BYTES = 8 << 20


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) * 1024


@pytest.mark.slow
async def test_five_hundred_turns_do_not_grow_the_console(make_console: Any) -> None:
    tokens = ["您可以", "在30天内", "退货。", " You may return it within 30 days."]
    server = FakeServer()
    app = make_console(server)
    async with app.run_test(size=(140, 40)) as pilot:
        while app.state.link != "ready":
            await pilot.pause(0.01)
        sizes: list[tuple[int, int]] = []
        for number in range(TURNS):
            if number % A_CUSTOMER == 0:
                app.dispatch(NewConversation(practice=f"practice-{number}"))
            server.scripts.append(answer(tokens, [RETURNS]))
            app.dispatch(Typed(f"问题 {number}"))
            app.actions.send()
            while app.state.current.busy:
                await pilot.pause(0)
            app.actions.do("accept")
            app.actions.do("accept")
            server.journal.turns.pop(f"practice-{number - 50}", None)
            if number % 50 == 49:
                await pilot.pause()
                gc.collect()
                sizes.append((resident(), len(list(app.screen.walk_children()))))
        assert app.state.asked == TURNS
        assert len(app.state.threads) <= MAX_THREADS
        assert max(len(thread.turns) for thread in app.state.threads) <= MAX_TURNS
    widgets = {count for _, count in sizes}
    assert len(widgets) == 1, sizes
    grown = sizes[-1][0] - sizes[2][0]
    say(f"{TURNS} turns: {grown / 1e6:+.1f} MB since turn 150, {sizes[-1][0] / 1e6:.0f} MB, {widgets} widgets")
    assert grown < GROWTH_BYTES, f"{grown / 1e6:.1f} MB from turn 150 to {TURNS}: {sizes}"
