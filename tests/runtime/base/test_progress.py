from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from runtime.base.progress import bar, counter, say


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that goes on by so much at every look."""
    return itertools.count(0.0, seconds).__next__


def test_progress_of_short_work_is_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading", 8, clock=ticking(1.0)) as advance:
        for _ in range(8):
            advance(1)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["reading …"]


def test_progress_of_long_work_is_a_line_every_half_minute_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading", 8, clock=ticking(10.0)) as advance:
        for _ in range(8):
            advance(1)
    assert capsys.readouterr().err.splitlines() == ["reading …", "reading … 37 %", "reading … 75 %"]


def test_a_bar_of_nothing_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading", 0):
        pass
    assert "reading" in capsys.readouterr().err


def test_a_counter_is_silent_until_something_is_counted_and_never_goes_back(capsys: pytest.CaptureFixture[str]) -> None:
    with counter("indexing", clock=ticking(60.0)) as count:
        assert capsys.readouterr().err == ""
        for done in (1, 60, 40, 100):
            count(done, 100)
    assert capsys.readouterr().err.splitlines() == ["indexing …", "indexing … 60 %", "indexing … 99 %"]


@pytest.mark.parametrize("name", ["shop [/] b", "[bold]", "店 [/x]", "\x1b]0;PWNED\x07\u202e"])
@pytest.mark.parametrize("terminal", [True, False])
def test_progress_of_any_name_is_shown_as_it_is_and_steers_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, terminal: bool
) -> None:
    """Rich reads `[/]` as markup and ends with a MarkupError; a name may be a bundle's or a path."""
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
    with bar(f"asking {name}", 2, unit="[/]") as advance:
        advance(1)
    say(name)
    said = capsys.readouterr().err
    assert name in said or "PWNED" in name
    assert "\x1b]0" not in said
    assert "\x07" not in said
    assert "\u202e" not in said
