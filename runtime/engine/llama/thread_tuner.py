"""How many threads to compute with while other processes of the machine are busy.

A matrix is done when its slowest thread is, so a thread that must share its core holds up the others, which wait or
sleep: with two other busy processes on two cores a 3B model writes 7 tokens a second with one thread and 2 to 5 with
two. The signal is the share of the time in which the threads had a processor. Meant for short steps (`is_short`): the
rows of others are handed out in pieces, and those are faster with all threads. Promises: pure; at least one thread,
never more than asked for; all of them again once the neighbours are quiet. Knows nothing of llama.cpp and of clocks.
"""

from __future__ import annotations

from runtime.engine.core.batch_planner import ROW_TILE

WINDOW_S = 0.25
"""Seconds of computing before anything is decided."""
CROWDED_SHARE, FREE_SHARE = 0.7, 0.95
"""Shares of the time on a processor below which there is a thread too many, and above which one more may fit."""
MAX_QUIET_WINDOWS = 64
"""Most windows above `FREE_SHARE` before another thread is tried."""
OPERATIONS_PER_S = 50e9
"""Of one thread, roughly: 40 to 65 thousand million on AVX2 cores, by model and format."""
SHORT_STEP_S = 1.0
"""Of one thread's work. A pass has some thousand barriers, and beside a busy process waiting at them costs up to half a
second; the most that a second thread can save is half of the work. Two AVX2 cores with three busy processes, the demo's
model (20 layers of 576), a step of 64 rows: .51 s with one thread, 1.13 s with two; of 20 rows .32 and .57 s.
"""


def is_short(rows: int, parameters: int) -> bool:
    """Whether a step of so many rows is better computed with fewer threads while others are busy."""
    return rows < ROW_TILE or rows * 2 * parameters < SHORT_STEP_S * OPERATIONS_PER_S


class ThreadTuner:
    """Watches steps; `threads` is how many the next should have."""

    def __init__(
        self, max_threads: int, *, window_s: float = WINDOW_S, max_quiet_windows: int = MAX_QUIET_WINDOWS
    ) -> None:
        self.threads = self.max_threads = max(1, max_threads)
        self._window_s = window_s
        self._max_quiet_windows = max_quiet_windows
        self._computed_s = self._elapsed_s = 0.0
        self._quiet_windows = 0
        self._wanted_quiet_windows = 1
        """Doubles whenever another thread was tried in vain: each trial costs a window at the speed of the slowest."""
        self._on_trial = False
        """Whether the last window was the first with one thread more."""

    def begin(self, free: int) -> None:
        """Before the first step: so many processors are free. A thread too few costs a window, one too many a step."""
        self.threads = max(1, min(self.max_threads, free))

    def record_step(self, computed_s: float, elapsed_s: float) -> None:
        """Learn from a step whose threads had processors for `computed_s` in sum and that took `elapsed_s`."""
        self._computed_s += computed_s
        self._elapsed_s += elapsed_s
        if self._elapsed_s < self._window_s:
            return
        share = self._computed_s / (self._elapsed_s * self.threads)
        self._computed_s = self._elapsed_s = 0.0
        if share < CROWDED_SHARE and self.threads > 1:
            if self._on_trial:
                self._wanted_quiet_windows = min(self._max_quiet_windows, 2 * self._wanted_quiet_windows)
            self._use(self.threads - 1, on_trial=False)
        elif share > FREE_SHARE and self.threads < self.max_threads:
            self._quiet_windows += 1
            if self._quiet_windows >= self._wanted_quiet_windows:
                self._use(self.threads + 1, on_trial=True)
        else:
            if self._on_trial and share > FREE_SHARE:
                self._wanted_quiet_windows = 1
            self._quiet_windows, self._on_trial = 0, False

    def _use(self, threads: int, *, on_trial: bool) -> None:
        self.threads, self._on_trial, self._quiet_windows = threads, on_trial, 0
