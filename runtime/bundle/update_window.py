"""When a branch may copy: a window of the day such as `22:00-06:00`, and how fast.

Pure but for the clocks it is given. A window is local time; the rate is kept on a monotonic clock, so a clock that
jumps neither stops a copy nor floods a line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from datetime import time as time_of_day

from runtime.errors import UnavailableError, UsageError


def parse_window(text: str) -> tuple[time_of_day, time_of_day] | None:
    """`22:00-06:00` as its two ends; None for an empty text. `UsageError` for anything else."""
    if not text:
        return None
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", text)
    if not found:
        raise UsageError(f"no window of the day: '{text}'", where="update_window", hint="write it as 22:00-06:00")
    first, second, third, fourth = (int(group) for group in found.groups())
    return time_of_day(first, second), time_of_day(third, fourth)


def is_open(window: tuple[time_of_day, time_of_day] | None, now: time_of_day) -> bool:
    """Whether a time lies in a window, which may reach over midnight; its end no longer counts."""
    if window is None:
        return True
    begin, end = window
    return begin <= now < end if begin <= end else now >= begin or now < end


class WindowPace:
    """Lets a copy go on while its window is open, on the real clocks unless others are given (`sources.Pace`)."""

    def __init__(
        self,
        window: str = "",
        *,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        local: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._window = parse_window(window)
        self._text = window
        self._monotonic = monotonic
        self._pause = pause
        self._local = local

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return self._monotonic()

    def wait(self, seconds: float) -> None:
        """Pause."""
        self._pause(seconds)

    def check(self) -> None:
        """`UnavailableError` outside the window."""
        if not is_open(self._window, self._local().time()):
            raise UnavailableError(
                f"updates are copied from {self._text.replace('-', ' to ')} here",
                where="update_window",
                hint="wait, or run edgedesk update --now; what was copied is kept",
            )
