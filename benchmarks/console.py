"""Claim: the console answers a key within 50 ms while a draft streams at 100 tokens a second beside 200 conversations.

The console runs whole, on a desk that plays the server (`tui.testing.fake_server`), 140 by 40: first paint from the
import's end to the first frame with the inbox's place and the field; a key from its arrival to the frame that shows its
letter, while tokens arrive every 10 ms; memory of the process with all of that on screen, above what Python had before
the import. `key_computed_p95_ms` is what the console itself computes in that time, whatever else the machine does
meanwhile. `terminal_*` is the same from outside: from the key's byte to the output that shows it, in a terminal device
of its own; `tmux_*` with tmux in between. What a window draws and a network carries is in none of them.

    python benchmarks/console.py [--quick] [--json]
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _console_desk import ANSWER_TOKENS, CONVERSATIONS, desk
from _console_terminal import waits as terminal_waits
from _harness import Bar, Run, begin, main, median, quantile

from runtime.base.progress import say

BARS = {
    "first_paint_s": Bar(most=0.5),
    "key_p95_ms": Bar(most=50.0),
    "terminal_p95_ms": Bar(most=50.0),
    "memory_mb": Bar(most=150.0),
}
A_DRAFT = 30
"""Keys typed while one draft streams; then they are sent, which retires it and asks for the next."""
SIZE = (140, 40)
PROGRAM = """
import asyncio, json, sys, time
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS:")).split()[1]) * 1024
before = resident()
began = time.perf_counter()
from tui.app.console import Console
from tui.testing.fake_server import FakeServer
from tui.base.i18n import Catalogue
imported = time.perf_counter()

async def run():
    app = Console(FakeServer(), Catalogue("en"))
    async with app.run_test(size=(140, 40)) as pilot:
        while "Customer's message" not in "".join(strip.text for strip in app.screen._compositor.render_strips()):
            await asyncio.sleep(0)
        return time.perf_counter()

print(json.dumps({"import_s": imported - began, "first_paint_s": asyncio.run(run()) - imported, "before": before}))
"""


def first_paint() -> dict[str, float]:
    """A process of its own: seconds of the import, and from its end to the first frame; memory before, in bytes."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


class Frames:
    """Hears of every frame that would go to the terminal, and when the last awaited letters were in one."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._show = app._display
        self._wanted: tuple[int, asyncio.Future[tuple[float, float]]] | None = None
        app._display = self._display

    async def until_typed(self, length: int) -> tuple[float, float]:
        """When the first frame came that shows so many letters: by the clock, and in seconds this process computed."""
        self._wanted = (length, asyncio.get_running_loop().create_future())
        return await self._wanted[1]

    def _display(self, screen: Any, frame: Any) -> None:
        self._show(screen, frame)
        if self._wanted is not None and not self._wanted[1].done() and self._shows(self._wanted[0]):
            self._wanted[1].set_result((time.perf_counter(), time.process_time()))

    def _shows(self, length: int) -> bool:
        from tui.widgets.composer import Composer

        composer = self._app.chat.query_one(Composer)
        if len(composer.text) < length:
            return False
        region = composer.content_region
        rows = self._app.screen._compositor.render_strips()[region.y : region.bottom]
        return composer.text[-8:] in "".join(strip.text[region.x : region.right].rstrip() for strip in rows)


async def keys(count: int) -> tuple[list[tuple[float, float]], float, float]:
    """Seconds from each key to the frame that shows it, by the clock and computed; tokens a second; bytes in memory."""
    from tui.app.console import Console
    from tui.base.i18n import Catalogue
    from tui.widgets.composer import Composer

    from textual import events as keyboard  # isort: skip

    app = Console(desk(), Catalogue("en"))
    async with app.run_test(size=SIZE) as pilot:
        while len(app.state.inbox) < CONVERSATIONS:
            await pilot.pause(0.02)
        await pilot.press(*"how long", "enter")
        app.chat.set_focus(app.chat.query_one(Composer))
        frames = Frames(app)
        waits, tokens, seconds = [], 0, 0.0
        for start in range(0, count, A_DRAFT):
            while app.state.current is None or not 5 < app.state.current.tokens < ANSWER_TOKENS:
                await pilot.pause(0.01)
            began, before = time.perf_counter(), app.state.current.tokens
            for number in range(A_DRAFT):
                letter = "abcdefghij"[number % 10]
                asked, spent = time.perf_counter(), time.process_time()
                app.post_message(keyboard.Key(letter, letter))
                seen, computed = await frames.until_typed(number + 1)
                waits.append((seen - asked, computed - spent))
                await asyncio.sleep(0.05 + 0.007 * (number % 10))  # at no fixed place between two tokens
            tokens += app.state.current.tokens - before
            seconds += time.perf_counter() - began
            say(f"{start + A_DRAFT} of {count} keys")
            await pilot.press("enter")
            app.chat.set_focus(app.chat.query_one(Composer))
        return waits, tokens / seconds, resident()


def resident() -> float:
    """Bytes this process holds in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024.0


def through_terminals(run: Run, count: int) -> None:
    """The console in a terminal device, and in tmux in one."""
    program = [sys.executable, str(Path(__file__).with_name("_console_desk.py"))]
    ways = {"terminal": program}
    name = f"edgedesk-{os.getpid()}"
    if tmux := shutil.which("tmux"):
        ways["tmux"] = [tmux, "-u", "-L", name, "-f", "/dev/null", "new-session", shlex.join(program), ";",
                        "set", "status", "off"]  # fmt: skip
    else:
        say("tmux is not installed; without it only the bare terminal is measured")
    for way, argv in ways.items():
        say(f"keys in a terminal: {way}")
        environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        environment.pop("TMUX", None)
        try:
            took = terminal_waits(argv, SIZE, environment, count, A_DRAFT)
        finally:
            if way == "tmux":
                subprocess.run([argv[0], "-L", name, "kill-server"], capture_output=True, check=False)
        run.figures[f"{way}_p50_ms"] = 1000 * median(took)
        run.figures[f"{way}_p95_ms"] = 1000 * quantile(took, 0.95)


def work(run: Run) -> None:
    """Measure."""
    quick = run.options.quick
    starts = []
    for number in range(3 if quick else 9):
        say(f"start {number + 1}")
        starts.append(first_paint())
    run.figures["import_s"] = median([one["import_s"] for one in starts])
    run.figures["first_paint_s"] = median([one["first_paint_s"] for one in starts])
    before = median([one["before"] for one in starts])
    say("keys while a draft streams")
    waits, rate, memory = asyncio.run(keys(A_DRAFT * (2 if quick else 10)))
    clock, computed = ([pair[part] for pair in waits] for part in (0, 1))
    run.figures["key_p50_ms"] = 1000 * median(clock)
    run.figures["key_p95_ms"] = 1000 * quantile(clock, 0.95)
    run.figures["key_max_ms"] = 1000 * max(clock)
    run.figures["key_computed_p95_ms"] = 1000 * quantile(computed, 0.95)
    run.figures["tokens_per_s"] = rate
    through_terminals(run, A_DRAFT * (1 if quick else 5))
    run.figures["memory_mb"] = (memory - before) / 1e6
    run.figures["resident_mb"] = memory / 1e6


if __name__ == "__main__":
    raise SystemExit(main(begin("console", __doc__, BARS), work))
