"""Talk on stderr: one line a step, a bar for what takes long. Stdout stays for data.

Off a terminal, in a log, a bar is one line at its start, and for what takes long another every half minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.base.terminal import printable

LINE_EVERY_S = 30.0
ProgressCallback = Callable[[float, float], None]
"""Called with (done, all)."""
Advance = Callable[[int], None]
"""Called with what was done since."""


def say(text: str) -> None:
    """One line to whoever watches, who is steered by nothing in it."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


@contextmanager
def counter(what: str, *, unit: str = "", clock: Callable[[], float] = time.monotonic) -> Iterator[ProgressCallback]:
    """A bar with the time left, for work that says itself how far it is; it appears with the first `count(done, all)`.

    It goes away when the block ends, on Ctrl-C too.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, clock)
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # a path may have brackets in it
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit, markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(printable(what), total=0, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


@contextmanager
def bar(what: str, total: float, *, unit: str = "", clock: Callable[[], float] = time.monotonic) -> Iterator[Advance]:
    """The same for a loop: the total is known, and `advance(amount)` counts."""
    done = 0.0
    with counter(what, unit=unit, clock=clock) as count:
        count(0, total)

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            count(done, total)

        yield advance


def _lines(what: str, clock: Callable[[], float]) -> ProgressCallback:
    """What is done, said at the start and then at most every `LINE_EVERY_S`: short work leaves one line in a log."""
    started, said_at, said = False, 0.0, 0

    def count(done: float, total: float) -> None:
        nonlocal started, said_at, said
        percent = min(int(100 * done / max(total, 1)), 99)
        now = clock()
        if not started:
            started, said_at = True, now
            say(f"{what} …")
        elif percent > said and now - said_at >= LINE_EVERY_S:
            said_at, said = now, percent
            say(f"{what} … {percent} %")

    return count
