"""What this machine has to compute with, and how many threads were found best on it.

`machine.json` in the home keeps what `runtime.engine.tools.thread_benchmark` measured. It counts as long as the process
may use as many processors as it might then.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
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
    """Threads, as text, to speed, as far as it could be measured in quiet."""
    busy: bool = False
    """Whether other programs kept a number of threads from being measured; then all processors are used."""

    def __str__(self) -> str:
        rates = ", ".join(f"{count}: {rate:.1f}" for count, rate in self.tokens_per_s.items()) or "none"
        note = "; others not measured, programs beside kept the processors busy" if self.busy else ""
        return f"{self.threads} (tokens a second by threads: {rates}{note})"


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def free_processors() -> int:
    """Of those that this process may use, how many nobody computes on at this moment, the caller's own counted as free.

    At least one. A glance: what runs now may be over in a moment. All of them where the kernel does not tell.
    """
    with suppress(OSError, ValueError, IndexError):
        running = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])
        return max(1, processors() - max(0, running - 1))
    return processors()


def processor_name() -> str:
    """The processor's model as the kernel names it; the architecture where it gives no name."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def read_measurement(home: Path) -> ThreadMeasurement | None:
    """What was measured on this machine; None when nothing was, or it has another number of processors now."""
    try:
        found = ThreadMeasurement(**json.loads((home / FILE_NAME).read_text(encoding="utf-8")))
        usable = found.processors == processors() and 1 <= found.threads <= found.processors
    except (OSError, ValueError, TypeError):
        return None
    return found if usable else None
