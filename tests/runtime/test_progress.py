from __future__ import annotations

import pytest

from runtime.progress import bar


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
