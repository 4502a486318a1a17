"""What the benchmarks of quantized files share: a demo's work folder, general text, a process's own memory."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from quantize.measure.samples import Sample, make_samples, section_index
from quantize.pipeline.bundle import read_prompt
from runtime.base.jsonl import read_rows
from runtime.errors import MissingError
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.text.records import Record

ROOT = Path(__file__).parents[1]


def add_work(parser: argparse.ArgumentParser) -> None:
    """The option that names a finished build."""
    parser.add_argument("--work", type=Path, help="a build's work folder (default: the demo's, work/northlight-en)")


def work_folder(given: Path | None) -> Path:
    """The finished build; `MissingError` without one."""
    work = given or ROOT / "work" / "northlight-en"
    if not (work / "merged" / "config.json").is_file():
        raise MissingError("no finished build", where=str(work), hint="./build.sh demo, or --work FOLDER")
    return work


def general_text() -> str:
    """English that no company wrote: the language reference that Python carries for its `help`."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def halves(work: Path, calibrating: int, held_out: int) -> tuple[list[Sample], list[Sample]]:
    """Training records of one half of the intents, held-out records of the other half.

    The demo's simulation has its templates by intent, so the two share none.
    """
    spec, sections = read_prompt(work / "prompt" / "prompt.json"), section_index(work / "articles")
    tokenizer = JsonTokenizer(work / "merged")
    out = []
    for split, half, count in (("train", 0, calibrating), ("test", 1, held_out)):
        rows = [
            row
            for row in read_rows(Record, work / "records" / f"{split}.jsonl")
            if row.lang in spec.languages and _number(row.intent or "") % 2 == half
        ]
        out.append(make_samples(sorted(rows, key=lambda row: _number(row.id))[:count], spec, sections, tokenizer))
    return out[0], out[1]


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


class Ran(NamedTuple):
    """One command."""

    seconds: float
    anonymous_mb: float
    """Its own memory at the peak, without pages of files; 10⁶ bytes."""
    said: str


def run_measured(command: Sequence[str | Path], **environment: str) -> Ran:
    """Run a command to its end; `MissingError` with its last words when it fails."""
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        said = b""
        while process.poll() is None:
            said += process.stdout.read() or b""
            peak = max([peak, *_anonymous_bytes(process.pid)])
            time.sleep(0.02)  # the kernel keeps no peak of this figure, so it has to be looked at
        seconds = time.perf_counter() - began
        said += process.stdout.read() or b""
    text = said.decode(errors="replace")
    if process.returncode:
        raise MissingError(f"{command[0]} failed", hint=text[-500:])
    return Ran(seconds, peak / 1e6, text)


def _anonymous_bytes(pid: int) -> Iterator[int]:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            yield int(line.split()[1]) * 1024
