"""Training in processes of its own: one that is killed goes on where it was, several learn what one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill.compute.distributed import SHARD
from distill.packing.packing import Pack
from tests.support.paths import ROOT

RUN = """
import os, signal, sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
from distill.packing.packing import Pack
from distill.recipe.settings import LoraSettings
from distill.student.training import tune
from safetensors.torch import save_file
torch.set_num_threads(1)
folder, checkpoint, kill = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
settings, packs = eval(Path(sys.argv[4]).read_text())
model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa")
seen = []
def advance(tokens):
    seen.append(tokens)
    if len(seen) == kill:
        os.kill(os.getpid(), signal.SIGKILL)
wrapped, figures = tune(model, [Pack(*row) for row in packs], LoraSettings(**settings), folder, advance)
if os.environ.get("RANK", "0") == "0":
    learned = {name: weight.detach().clone() for name, weight in wrapped.named_parameters() if weight.requires_grad}
    save_file(learned, folder / "end.safetensors")
"""


def run(
    folder: Path,
    checkpoint: Path,
    packs: list[Pack],
    settings: dict[str, Any],
    *,
    kill: int = 0,
    processes: int = 1,
    shard: bool = False,
) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    script = folder.parent / "run.py"
    script.write_text(RUN)
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    rows = folder.parent / "rows.txt"
    rows.write_text(repr((settings, [astuple(pack) for pack in packs])))
    words = [*(many if processes > 1 else []), str(script), str(folder), str(checkpoint), str(kill), str(rows)]
    return subprocess.run(
        [sys.executable, *words],
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **({SHARD: "1"} if shard else {})},
    )


def test_after_kill_9_a_run_goes_on_from_its_last_checkpoint_and_ends_the_same(
    tiny_llama: Path, packs: list[Pack], tmp_path: Path
) -> None:
    settings = {"rank": 2, "precision": "f32", "epochs": 3.0, "checkpoint_every": 2}
    killed = run(tmp_path / "killed", tiny_llama, packs, settings, kill=6)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "killed" / "checkpoint-4" / "learned.safetensors").is_file()
    cut_off = tmp_path / "killed" / "checkpoint-5"  # a checkpoint that was being written
    cut_off.mkdir()
    (cut_off / "trainer_state.json").write_text('{"global_step"')
    seen = run(tmp_path / "killed", tiny_llama, packs, settings)
    assert seen.returncode == 0, seen.stderr
    whole = run(tmp_path / "whole", tiny_llama, packs, settings)
    assert whole.returncode == 0, whole.stderr
    one, other = (load_file(tmp_path / name / "end.safetensors") for name in ("killed", "whole"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tiny_llama: Path, packs: list[Pack], tmp_path: Path) -> None:
    even = packs[: len(packs) // 2 * 2]
    settings = {"rank": 2, "precision": "f32", "epochs": 2.0, "warmup": 0.0}
    one = run(tmp_path / "one", tiny_llama, even, {**settings, "accumulate": 2})
    two = run(tmp_path / "two", tiny_llama, even, settings, processes=2)
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    left, right = (load_file(tmp_path / name / "end.safetensors") for name in ("one", "two"))
    assert left.keys() == right.keys()
    assert max(float((left[name] - right[name]).abs().max()) for name in left) < 1e-4


@pytest.mark.slow
def test_processes_that_share_the_student_go_on_after_kill_9_and_end_the_same(
    tiny_llama: Path, packs: list[Pack], tmp_path: Path
) -> None:
    """With the best checkpoint loaded at the end: weights and the optimizer's state are put together, and dealt out."""
    settings = {"rank": 2, "precision": "f32", "epochs": 3.0, "warmup": 0.0, "checkpoint_every": 1, "validation": 1}
    killed = run(tmp_path / "killed", tiny_llama, packs, settings, kill=3, processes=2, shard=True)
    assert killed.returncode != 0
    assert not (tmp_path / "killed" / "end.safetensors").is_file()
    assert list((tmp_path / "killed").glob("checkpoint-*/learned.safetensors"))
    seen = run(tmp_path / "killed", tiny_llama, packs, settings, processes=2, shard=True)
    assert seen.returncode == 0, seen.stderr
    whole = run(tmp_path / "whole", tiny_llama, packs, settings, processes=2)
    assert whole.returncode == 0, whole.stderr
    one, other = (load_file(tmp_path / name / "end.safetensors") for name in ("killed", "whole"))
    assert one.keys() == other.keys()
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-4
