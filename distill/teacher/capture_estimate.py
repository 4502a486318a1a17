"""Estimates the time and disk of a capture from a sample, before they are spent.

The sample is really captured; time grows with the tokens the teacher reads, disk with the reply positions (and with the
tokens where states are kept). Knows nothing of recipes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distill.packing.packing import Pack
from distill.teacher.capture import capture


def sample_packs(packs: Sequence[Pack], records: int) -> list[Pack]:
    """The first packs that hold at least `records` records; their order is random already."""
    chosen: list[Pack] = []
    held = 0
    for pack in packs:
        if held >= records:
            break
        chosen.append(pack)
        held += len(pack.records)
    return chosen


def estimate_capture(
    teacher: Any,
    packs: Sequence[Pack],
    scratch: Path,
    *,
    records: int,
    k: int,
    states: bool = False,
    clock: Callable[[], float] = time.monotonic,
    advance: Callable[[int], None] = lambda _tokens: None,
) -> dict[str, float]:
    """Capture about `records` records of the packs into `scratch`, which is left as it was, and extrapolate.

    {"records", "tokens", "hours", "gigabytes", "tokens_per_s", "bytes_a_position", "captured_mass", "sampled_records"}
    """
    sample = sample_packs(packs, records)
    with tempfile.TemporaryDirectory(prefix=".estimate-", dir=scratch) as folder:
        began = clock()
        out = Path(folder) / "sample.parquet"
        figures = capture(teacher, sample, out, k=k, states=states, advance=advance)
        seconds = clock() - began
        written = out.stat().st_size
    tokens = sum(len(pack.tokens) for pack in packs)
    positions = sum(len(pack.reply_targets()) for pack in packs)
    grows = tokens / figures["tokens"] if states else positions / figures["positions"]
    return {
        "records": sum(len(pack.records) for pack in packs),
        "tokens": tokens,
        "hours": round(seconds * tokens / figures["tokens"] / 3600, 3),
        "gigabytes": round(written * grows / 1e9, 6),
        "tokens_per_s": round(figures["tokens"] / max(seconds, 1e-9), 1),
        "bytes_a_position": figures["bytes_a_position"],
        "captured_mass": figures["captured_mass"],
        "sampled_records": figures["records"],
    }
