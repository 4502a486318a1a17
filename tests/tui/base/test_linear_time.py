"""No function over strangers' text takes time that grows faster than the text; compared within one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tui.base.inert_text import inert, one_line, wrap_chinese
from tui.base.pasted_text import clean_pasted, clean_pasted_line
from tui.base.wrapping import wrap_text

MAX_RATIO = 3.0
"""Twice the text in less than thrice the time: linear is 2, quadratic 4."""
MEASURED_S = 0.004
"""Sizes are doubled until a run takes so long; shorter ones measure the clock."""
MAX_CHARS = 30_000
UNITS = (
    "a", "a ", " ", "\n", "\r", "\r\n", "\t",
    "\u3000", "的", "。", "（的", "。的", "“", "...", ")", "e\u0301", "\u0301",
    "\u200b", "\u00ad", "\u202e", "\u200d", "👩\u200d", "\ufe0f", "\x1b[", "\u00a0", "x\n",
)  # fmt: skip


def cpu_s(call: Callable[[str], object], text: str) -> float:
    before = time.process_time()
    call(text)
    return time.process_time() - before


@pytest.mark.parametrize(
    "call",
    [inert, one_line, clean_pasted, clean_pasted_line, lambda text: wrap_text(text, 40)],
    ids=["inert", "one_line", "clean_pasted", "clean_pasted_line", "wrap_text"],
)
def test_text_functions_of_the_console_take_linear_time(call: Callable[[str], object]) -> None:
    wrap_chinese()
    for unit in UNITS:
        count = 500
        while cpu_s(call, unit * count) < MEASURED_S and count * len(unit) < MAX_CHARS:
            count *= 2
        ratios = (cpu_s(call, unit * 2 * count) / max(1e-6, cpu_s(call, unit * count)) for _ in range(4))
        assert any(ratio < MAX_RATIO for ratio in ratios), f"{unit!r} at {2 * count}"
