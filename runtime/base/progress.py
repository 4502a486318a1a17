"""Talk on stderr: one line a step, a bar for what takes long. Stdout stays for data.

Off a terminal, in a log, a bar is a line for every quarter done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Count = Callable[[float, float], None]
"""Called with (done, all)."""
Advance = Callable[[int], None]
"""Called with what was done since."""


def say(text: str) -> None:
    """One line to whoever watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def counter(what: str, *, unit: str = "") -> Iterator[Count]:
    """A bar with the time left, for work that says itself how far it is; it appears with the first `count(done, all)`.

    It goes away when the block ends, on Ctrl-C too.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _quarters(what)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=0, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


@contextmanager
def bar(what: str, total: float, *, unit: str = "") -> Iterator[Advance]:
    """The same for a loop: the total is known, and `advance(amount)` counts."""
    done = 0.0
    with counter(what, unit=unit) as count:
        count(0, total)

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            count(done, total)

        yield advance


def _quarters(what: str) -> Count:
    said = -1

    def count(done: float, total: float) -> None:
        nonlocal said
        quarter = min(int(4 * done / max(total, 1)), 3)
        if said < 0:
            say(f"{what} …")
            said = 0
        if quarter > said:
            said = quarter
            say(f"{what} … {25 * quarter} %")

    return count
