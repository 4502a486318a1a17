"""How the time of a function grows with its input, as a ratio within one run: no clock is compared with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def growth(function: Callable[[str], Any], make: Callable[[int], str], size: int, *, repeats: int = 1) -> float:
    """CPU time at `2 * size` characters over that at `size`: 2 for a linear function, 4 for a quadratic one.

    The thread's own CPU time, and the least of several tries that take the two in turns, so that a busy machine does
    not count.
    """
    short, long = make(size), make(2 * size)
    times = [(_seconds(function, short), _seconds(function, long)) for _ in range(repeats)]
    # Below a tenth of a millisecond it does not matter.
    return max(min(of_long for _, of_long in times), 1e-4) / max(min(of_short for of_short, _ in times), 1e-4)


def _seconds(function: Callable[[str], Any], text: str) -> float:
    start = time.thread_time()
    function(text)
    return time.thread_time() - start
