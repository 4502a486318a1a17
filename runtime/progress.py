"""Talk on stderr: one line a step, a bar for what takes over two seconds. Stdout stays for data."""

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
    """A progress bar with the time left while the block runs; off a terminal, one line instead."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        say(f"{what} …")
        yield lambda _amount: None
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
