"""How fast a file reads and writes, and what it takes in memory: each try in a process of its own.

A process of its own knows no torch, opens the file as a branch does, and its peak memory is the file's alone. Promises:
the median of several tries; nothing is written. Knows nothing of quality.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from quantize.formats.onnx_decoder import OnnxDecoder
from runtime.base.child_process import run_child
from runtime.engine.llama.scorer import LlamaScorer

BATCH_TOKENS = 128
"""Rows that the engine reads in one step (`runtime.engine`)."""
_MARK = "speed: "


class Speed(BaseModel):
    """One file with so many threads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: int
    prompt_tokens: int
    reading_per_s: float
    """Tokens of a prompt read in a second."""
    writing_per_s: float
    """Tokens written in a second, one sequence."""
    first_word_s: float
    """From an unread prompt to its first token."""
    memory_mb: float
    """The process's peak, 10⁶ bytes: weights, context, buffers, Python."""


def measure_speed(
    path: Path,
    *,
    prompt_tokens: int = 384,
    write_tokens: int = 16,
    tries: int = 3,
    threads: int = 2,
    context: int = 2048,
) -> Speed:
    """Read `prompt_tokens` and write `write_tokens` with a GGUF file or an ONNX folder; `ModelError` where it fails."""
    arguments = [str(value) for value in (path, prompt_tokens, write_tokens, tries, threads, context)]
    log = run_child(
        "quantize.measure.speed", arguments, what="measuring its speed", where=path, out=path, threads=threads
    )
    line = next(line for line in log.splitlines() if line.startswith(_MARK))
    return Speed.model_validate_json(line.removeprefix(_MARK))


def _peak_bytes() -> int:
    """This process's largest resident size since it was started.

    `getrusage` would name its parent's where that was larger at the fork.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _child(path: str, prompt_tokens: str, write_tokens: str, tries: str, threads: str, context: str) -> None:
    """What the child process does; the figures are the last line it prints."""
    count, steps, workers = int(prompt_tokens), int(write_tokens), int(threads)
    file = Path(path)
    with (
        OnnxDecoder(file, threads=workers)
        if file.is_dir()
        else LlamaScorer(file, context=int(context), threads=workers, step=BATCH_TOKENS)
    ) as decoder:
        size = decoder.logits([1, 2]).shape[1]
        prompt = [int(token) for token in np.random.default_rng(1).integers(0, size, count)]
        read = []
        for _ in range(int(tries)):
            began = time.perf_counter()
            decoder.logits(prompt, count - 1)
            read.append(time.perf_counter() - began)
        writing = decoder.decode_rate(prompt[: min(count, 64)], steps)
    reading = float(np.median(read))
    speed = Speed(
        threads=workers,
        prompt_tokens=count,
        reading_per_s=round(count / reading, 2),
        writing_per_s=round(writing, 2),
        first_word_s=round(reading, 4),
        memory_mb=round(_peak_bytes() / 1e6, 1),
    )
    sys.stdout.write(f"\n{_MARK}{speed.model_dump_json()}\n")


if __name__ == "__main__":
    _child(*sys.argv[1:7])
