"""How the time of a function grows with its input, as a ratio within one run: no clock is compared with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def growth(function: Callable[[str], Any], make: Callable[[int], str], size: int, *, repeats: int = 1) -> float:
    """CPU time at `2 * size` characters over that at `size`: 2 for a linear function, 4 for a quadratic one.

    The thread's own CPU time, and the least of several tries, so that a busy machine does not count.
    """
    return _least(function, make(2 * size), repeats) / _least(function, make(size), repeats)


def _least(function: Callable[[str], Any], text: str, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        function(text)
        times.append(time.thread_time() - start)
    return max(min(times), 1e-4)  # below a tenth of a millisecond it does not matter
