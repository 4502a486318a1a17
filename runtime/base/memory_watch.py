"""The most memory this process and its children hold together while a block runs; Linux only, elsewhere 0.

Sampled, because the kernel's own figure for children counts what they shared with their parent before they became
another program.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE_S = 0.2
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Peak:
    """Resident MB at the highest sample so far."""

    def __init__(self) -> None:
        self.megabytes = 0


@contextmanager
def watch_memory() -> Iterator[Peak]:
    """Sample until the block ends."""
    peak, done = Peak(), threading.Event()

    def sample() -> None:
        peak.megabytes = max(peak.megabytes, _resident_bytes(os.getpid()) >> 20)

    def keep_sampling() -> None:
        while not done.wait(SAMPLE_S):
            sample()

    thread = threading.Thread(target=keep_sampling, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        sample()


def release_memory() -> None:
    """Let the C library return freed memory to the system; a model that is gone should not count for the next stage."""
    import ctypes
    import gc

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident_bytes(root: int) -> int:
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for entry in Path("/proc").iterdir() if Path("/proc/self").exists() else ():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)], sizes[int(entry.name)] = int(fields[1]), int(fields[21])
    family = {root}
    while more := {process for process, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(sizes.get(process, 0) for process in family) * _PAGE
