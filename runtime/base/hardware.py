"""What this machine has to compute with, and how many threads were found best on it.

`machine.json` in the home keeps what `runtime.engine.tools.thread_benchmark` measured. It counts as long as the process
may use as many processors as it might then.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "machine.json"


@dataclass(frozen=True)
class ThreadMeasurement:
    """The choice, and what it rests on."""

    threads: int
    processors: int
    model: str
    tokens_per_s: dict[str, float]
    """Threads, as text, to speed."""
    busy: bool = False
    """Whether other programs computed meanwhile, so that the speeds say nothing of a quiet hour."""

    def __str__(self) -> str:
        rates = ", ".join(f"{count}: {rate:.1f}" for count, rate in self.tokens_per_s.items())
        note = "; other programs kept the processors busy" if self.busy else ""
        return f"{self.threads} (tokens a second by threads: {rates}{note})"


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def read_measurement(home: Path) -> ThreadMeasurement | None:
    """What was measured on this machine; None when nothing was, or it has another number of processors now."""
    try:
        found = ThreadMeasurement(**json.loads((home / FILE_NAME).read_text(encoding="utf-8")))
        usable = found.processors == processors() and 1 <= found.threads <= found.processors
    except (OSError, ValueError, TypeError):
        return None
    return found if usable else None
