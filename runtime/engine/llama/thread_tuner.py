"""How many threads to compute with beside a machine's other processes.

A matrix is done when its slowest thread is, so a thread that must share its core holds up the others, who wait or
sleep: beside two busy processes on two cores a 3B model writes 7 tokens a second with one thread and 2 to 5 with two.
What tells is the share of the time that the threads had a processor. Meant for steps of a few rows: those of many are
handed out in pieces, and are quicker with all threads. Promises: pure; one thread at least, never more
than were asked for; with quiet neighbours all of them again. Knows nothing of llama.cpp and of clocks.
"""

from __future__ import annotations

WINDOW_S = 0.25
"""Of computing, before anything is decided."""
CROWDED, FREE = 0.7, 0.95
"""Shares of the time on a processor below which there is a thread too many, and above which there may be room."""
LONGEST_CALM = 64
"""Windows of room before another thread is tried, at most."""


class ThreadTuner:
    """Watches steps; `threads` is how many the next should have."""

    def __init__(self, most: int) -> None:
        self.threads = self.most = max(1, most)
        self._computed = self._elapsed = 0.0
        self._calm = 0
        self._wanted_calm = 1
        """Doubles whenever another thread was tried in vain."""
        self._tried = False

    def stepped(self, computed_s: float, elapsed_s: float) -> None:
        """A step had its threads on processors for `computed_s` together and took `elapsed_s`."""
        self._computed += computed_s
        self._elapsed += elapsed_s
        if self._elapsed < WINDOW_S:
            return
        share = self._computed / (self._elapsed * self.threads)
        self._computed = self._elapsed = 0.0
        if share < CROWDED and self.threads > 1:
            if self._tried:
                self._wanted_calm = min(LONGEST_CALM, 2 * self._wanted_calm)
            self._use(self.threads - 1, tried=False)
        elif share > FREE and self.threads < self.most:
            self._calm += 1
            if self._calm >= self._wanted_calm:
                self._use(self.threads + 1, tried=True)
        else:
            if self._tried and share > FREE:
                self._wanted_calm = 1
            self._calm, self._tried = 0, False

    def _use(self, threads: int, *, tried: bool) -> None:
        self.threads, self._tried, self._calm = threads, tried, 0
