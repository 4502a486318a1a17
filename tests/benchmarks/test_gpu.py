"""The script for a machine with a GPU runs here too, on the CPU at tiny shapes, and writes what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

STAGES = ("capture", "distil", "lora")


def test_gpu_script_writes_speed_and_memory_of_every_stage(tmp_path: Path) -> None:
    out = tmp_path / "figures of the gpu.json"
    done = subprocess.run(
        ["bash", ROOT / "benchmarks" / "gpu.sh", out, "--shape", "tiny", "--steps", "2", "--tokens", "48"],
        env=os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the CPU computes" in done.stderr
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["device"] == "cpu"
    figures = written["figures"]
    assert set(figures) == {
        *(f"{stage}, {what}" for stage in STAGES for what in ("tokens/s", "memory GB")),
        "merge, s",
        "merge, memory GB",
        "2 processes on the CPU, tiny, tokens/s",
    }
    assert all(value > 0 for name, value in figures.items() if name.endswith("tokens/s"))
