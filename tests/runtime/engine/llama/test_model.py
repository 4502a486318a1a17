"""Pages of a mapped file are given back, and can be read all the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from runtime.engine.llama.model import release_mapped_pages


def resident_kib(path: Path) -> int:
    """What of a mapped file this process holds."""
    found, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


def test_mapped_pages_leave_the_process_and_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "weights of a model 模型.bin"
    data = os.urandom(1 << 20)
    path.write_bytes(data)
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    total = int(mapped.sum())
    assert resident_kib(path) == 1024
    assert release_mapped_pages(path) == 1 << 20
    assert resident_kib(path) == 0
    assert int(mapped.sum()) == total
    assert release_mapped_pages(tmp_path / "other") == 0
