from __future__ import annotations

import pytest

from runtime.base.progress import bar, counter


def test_off_a_terminal_a_bar_is_a_line_a_quarter_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading", 8) as advance:
        for _ in range(8):
            advance(1)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["reading …", "reading … 25 %", "reading … 50 %", "reading … 75 %"]


def test_a_bar_of_nothing_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading", 0):
        pass
    assert "reading" in capsys.readouterr().err


def test_a_counter_is_silent_until_something_is_counted_and_never_goes_back(capsys: pytest.CaptureFixture[str]) -> None:
    with counter("indexing") as count:
        assert capsys.readouterr().err == ""
        for done in (1, 60, 40, 100):
            count(done, 100)
    assert capsys.readouterr().err.splitlines() == ["indexing …", "indexing … 50 %", "indexing … 75 %"]
