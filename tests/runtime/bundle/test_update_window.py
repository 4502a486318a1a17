"""The hours in which a branch may copy."""

from __future__ import annotations

from datetime import datetime, time

import pytest

from runtime.bundle.update_window import WindowPace, is_open, parse_window
from runtime.errors import UnavailableError, UsageError


@pytest.mark.parametrize(
    ("window", "now", "open_"),
    [
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "23:59", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("22:00-06:00", "21:59", False),
        ("12:30-13:15", "12:30", True),
        ("12:30-13:15", "13:14", True),
        ("12:30-13:15", "13:15", False),
        ("12:30-13:15", "00:00", False),
        ("00:00-23:59", "12:00", True),
        ("08:00-08:00", "08:00", False),
        ("", "03:00", True),
    ],
)
def test_window_is_open_from_its_beginning_until_before_its_end(window: str, now: str, open_: bool) -> None:
    assert is_open(parse_window(window), time.fromisoformat(now)) is open_


@pytest.mark.parametrize("text", ["22-6", "24:00-06:00", "22:60-06:00", "22:00", "22:00–06:00", " 22:00-06:00", "ever"])
def test_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no window of the day") as caught:
        parse_window(text)
    assert "22:00-06:00" in caught.value.hint


def test_copying_outside_its_window_says_when_it_may() -> None:
    at = {"now": datetime.fromisoformat("2026-11-30T12:00")}
    pace = WindowPace("22:00-06:00", local=lambda: at["now"])
    with pytest.raises(UnavailableError, match="from 22:00 to 06:00") as caught:
        pace.check()
    assert "--now" in caught.value.hint
    at["now"] = datetime.fromisoformat("2026-11-30T22:00")
    pace.check()


def test_window_waits_on_the_clock_that_does_not_jump() -> None:
    paused: list[float] = []
    pace = WindowPace("", monotonic=lambda: 5.0, pause=paused.append)
    assert pace.now() == 5.0
    pace.wait(2.5)
    assert paused == [2.5]
