"""Talk on stderr: one line a step, a bar for what takes over two seconds. Stdout stays for data.

Off a terminal, in a log, a bar is a line for every quarter done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


def say(text: str) -> None:
    """One line to whoever watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def bar(what: str, total: float, *, unit: str = "") -> Iterator[Advance]:
    """A progress bar with the time left while the block runs."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        say(f"{what} …")
        yield _quarters(what, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda amount: progress.advance(task, amount)


def _quarters(what: str, total: float) -> Advance:
    done = 0.0
    said = 0

    def advance(amount: int) -> None:
        nonlocal done, said
        done += amount
        if (quarter := int(4 * done / max(total, 1))) > said and quarter < 4:
            said = quarter
            say(f"{what} … {25 * quarter} %")

    return advance
