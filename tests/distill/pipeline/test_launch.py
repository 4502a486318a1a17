"""Training stages in processes that a launcher starts: one build, what one process learns, errors and all."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from distill.pipeline import launch as module
from distill.pipeline.build import open_build
from distill.recipe.recipe import Recipe, Tuning
from distill.recipe.settings import DistillSettings
from quantize.formats.gguf_writer import write_gguf
from runtime.base.manifest import Manifest, read_manifest
from runtime.errors import MissingError, ModelError, UsageError
from tests.support.company import leftovers


@pytest.fixture
def launched(recipe: Recipe, built: Path, tiny_llama: Path) -> Callable[..., dict[str, Manifest]]:
    """`launched(launcher, from_stage, **changes of the recipe)` builds on from there; returns the manifests."""

    def build(launcher: str, from_stage: str = "merged", shard: bool = False, **changes: Any) -> dict[str, Manifest]:
        made = recipe.model_copy(update=changes)
        chain = open_build(made, built, base=str(tiny_llama), force_from=from_stage, launcher=launcher, shard=shard)
        return chain.run(write_gguf)

    return build


def furthest(one: Path, other: Path) -> float:
    """Largest difference of any weight of two checkpoints."""
    left, right = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_a_process_of_its_own_learns_what_this_one_does(
    launched: Callable[..., dict[str, Manifest]], built: Path, finished: Path
) -> None:
    made = launched(shlex.quote(sys.executable))
    before = read_manifest(finished / "merged")
    assert made["merged"].inputs == before.inputs
    assert made["merged"].figures["training"] == pytest.approx(before.figures["training"], abs=1e-4)
    assert furthest(built / "merged", finished / "merged") < 1e-4
    assert leftovers(built) == []


def test_what_stops_the_process_stops_the_build_and_leaves_the_last_run(
    launched: Callable[..., dict[str, Manifest]], recipe: Recipe, built: Path
) -> None:
    before = read_manifest(built / "merged")
    everything = recipe.lora.model_copy(update={"validation": 9, "checkpoint_every": 1})
    with pytest.raises(UsageError, match="none left to learn from") as error:
        launched(shlex.quote(sys.executable), lora=everything)
    assert "hold back fewer" in error.value.hint
    with pytest.raises(ModelError, match="exit code 1"):
        launched("false")
    with pytest.raises(MissingError, match="no program 'no-such-launcher'"):
        launched("no-such-launcher --gpus 4")
    assert read_manifest(built / "merged") == before
    assert leftovers(built) == []


def test_ctrl_c_ends_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    real, waited = subprocess.Popen.wait, []

    def wait(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if not waited:
            waited.append(self)
            raise KeyboardInterrupt
        return real(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        module._run(["sleep", "60"], {})
    assert waited[0].returncode == -signal.SIGTERM


def test_sharing_out_is_done_here_and_among_several(
    run: Callable[..., list[str]], launched: Callable[..., dict[str, Manifest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="more than one process") as error:
        launched("", shard=True)
    assert error.value.where == "--shard"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="sharding") as error:
        run(force_from="merged")
    assert "--shard" in error.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_of_torchrun_build_the_student_that_one_does(
    launched: Callable[..., dict[str, Manifest]], built: Path, tmp_path: Path, shard: bool
) -> None:
    """Their loss and their weights are those of one process that adds up two packs, within 1e-4; shared out, too."""
    kd, lora = DistillSettings(precision="f32", warmup=0, epochs=2), Tuning(packs=2, rank=2, precision="f32", warmup=0)
    two = launched("torchrun --standalone --nproc-per-node 2", "student", shard=shard, kd=kd, lora=lora)
    for name in ("student", "merged"):
        (built / name).rename(tmp_path / name)
    alone = {"accumulate": 2}
    one = launched("", "student", kd=kd.model_copy(update=alone), lora=lora.model_copy(update=alone))
    for name in ("student", "merged"):
        assert furthest(built / name, tmp_path / name) < 1e-4
    assert two["student"].figures["held_out"]["kl"] == pytest.approx(one["student"].figures["held_out"]["kl"], abs=1e-4)
