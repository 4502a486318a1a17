"""A long capture outlives a kill: what was finished is taken up, what belongs to another capture is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from distill.compute.resumable_parquet import MANIFEST, ResumableParquet
from distill.packing.packing import Pack
from distill.teacher.capture import capture, capture_bytes, read_capture
from distill.teacher.capture_estimate import estimate_capture, sample_packs
from distill.teacher.teacher import CheckpointTeacher
from runtime.errors import IntegrityError, SpaceError
from tests.support.paths import ROOT

INPUTS = {"teacher": "abc", "records": "def", "capture": {"k": 4}}
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
from distill.compute.resumable_parquet import ResumableParquet
from distill.packing.packing import Pack
from distill.teacher.capture import capture
torch.set_num_threads(1)
packs = [Pack(*row) for row in eval(sys.stdin.read())]
teacher = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="sdpa")
seen = []
def advance(tokens):
    seen.append(tokens)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
parts = ResumableParquet(Path(sys.argv[3]), eval(sys.argv[4]))
capture(teacher, packs, Path(sys.argv[2]), k=4, precision="f32", parts=parts, part_packs=1, advance=advance)
"""


@pytest.fixture(scope="module")
def teacher(tiny_llama: Path, open_model: Callable[..., Any]) -> Any:
    return open_model(tiny_llama, widen=1.0)


class WatchedTeacher(CheckpointTeacher):
    """Notes what it reads, or fails with an error instead."""

    def __init__(self, model: Any, error: Exception | None = None) -> None:
        super().__init__(model, "f32")
        self.seen: list[int] = []
        self._error = error

    def read(self, pack: Pack) -> Any:
        if self._error:
            raise self._error
        self.seen.append(len(pack.tokens))
        return super().read(pack)


def test_after_kill_9_the_capture_goes_on_where_it_was_and_is_the_same(
    teacher: Any, packs: list[Pack], tiny_llama: Path, tmp_path: Path
) -> None:
    assert len(packs) >= 3
    out, parts = tmp_path / "c.parquet", tmp_path / "parts"
    rows = repr([astuple(pack) for pack in packs])
    command = [sys.executable, "-c", KILLED, str(tiny_llama), str(out), str(parts), repr(INPUTS)]
    done = subprocess.run(command, input=rows, text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    finished = sorted(path.name for path in parts.glob("part-*.parquet"))
    assert finished == ["part-00000.parquet", "part-00001.parquet"]  # the third was being written

    watched = WatchedTeacher(teacher)
    seen: list[int] = []
    resumed = ResumableParquet(parts, INPUTS)
    figures = capture(watched, packs, out, k=4, parts=resumed, part_packs=1, advance=seen.append)
    assert watched.seen == [len(pack.tokens) for pack in packs[2:]]
    assert sum(seen) == sum(len(pack.tokens) for pack in packs)
    assert not parts.exists()
    whole = tmp_path / "whole.parquet"
    assert capture(teacher, packs, whole, k=4, precision="f32") == figures
    assert whole.read_bytes() == out.read_bytes()


def begun(teacher: Any, packs: list[Pack], folder: Path) -> ResumableParquet:
    """Parts of a capture that was interrupted at its second pack."""
    parts = ResumableParquet(folder, INPUTS)
    seen: list[int] = []

    def advance(tokens: int) -> None:
        seen.append(tokens)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(
            teacher,
            packs,
            folder.parent / "c.parquet",
            k=4,
            precision="f32",
            parts=parts,
            part_packs=1,
            advance=advance,
        )
    assert [path.name for path in sorted(folder.iterdir())] == ["part-00000.parquet", MANIFEST]
    return parts


@pytest.mark.parametrize("changed", [{"teacher": "xyz"}, {"capture": {"k": 8}}, {"tokenizer": "new"}])
def test_parts_of_another_model_data_or_setting_are_refused_by_name(
    changed: dict[str, Any], teacher: Any, packs: list[Pack], tmp_path: Path
) -> None:
    begun(teacher, packs, tmp_path / "parts")
    with pytest.raises(IntegrityError, match=f"{next(iter(changed))} changed") as error:
        ResumableParquet(tmp_path / "parts", INPUTS | changed)
    assert "--from capture" in error.value.hint
    assert (tmp_path / "parts" / "part-00000.parquet").is_file()


def test_parts_whose_manifest_is_damaged_are_refused(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    begun(teacher, packs, tmp_path / "parts")
    (tmp_path / "parts" / MANIFEST).write_text("[")
    with pytest.raises(IntegrityError, match="cannot be read"):
        ResumableParquet(tmp_path / "parts", INPUTS)


def test_a_part_with_other_token_ids_is_refused(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    parts = begun(teacher, packs, tmp_path / "parts")
    with pytest.raises(IntegrityError, match="other token ids"):
        capture(teacher, packs[::-1], tmp_path / "c.parquet", k=4, precision="f32", parts=parts, part_packs=1)


def test_a_damaged_part_is_refused(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    parts = begun(teacher, packs, tmp_path / "parts")
    data = bytearray(parts.path(0).read_bytes())
    data[4:2000] = b"\xff" * 1996
    parts.path(0).write_bytes(data)
    with pytest.raises(IntegrityError, match="part-00000"):
        capture(teacher, packs, tmp_path / "c.parquet", k=4, precision="f32", parts=parts, part_packs=1)


def test_an_interruption_before_the_first_part_leaves_nothing(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    full = WatchedTeacher(teacher, OSError(28, "No space left on device"))
    parts = ResumableParquet(tmp_path / "parts", INPUTS)
    with pytest.raises(SpaceError):
        capture(full, packs, tmp_path / "c.parquet", k=4, parts=parts)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_predicts_hours_and_disk_of_the_whole(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    times = iter([100.0, 136.0])
    predicted = estimate_capture(teacher, packs, tmp_path, records=5, k=4, clock=lambda: next(times))
    assert list(tmp_path.iterdir()) == []
    sample = sample_packs(packs, 5)
    assert 5 <= predicted["sampled_records"] == sum(len(pack.records) for pack in sample) < predicted["records"]
    share = predicted["tokens"] / sum(len(pack.tokens) for pack in sample)
    assert predicted["hours"] == pytest.approx(36 / 3600 * share, abs=2e-3)
    capture(teacher, packs, tmp_path / "c.parquet", k=4, precision="f32")
    assert predicted["gigabytes"] * 1e9 == pytest.approx((tmp_path / "c.parquet").stat().st_size, rel=0.5, abs=1e5)


def test_what_a_capture_weighs_at_most_is_known_before(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    """Part of F3: space is checked first."""
    tokens = sum(len(pack.tokens) for pack in packs)
    positions = sum(len(pack.reply_targets()) for pack in packs)
    capture(teacher, packs, tmp_path / "c.parquet", k=32, states=True, precision="f32")
    held = sum(row.ids.nbytes // 2 + row.logprobs.nbytes for row in read_capture(tmp_path / "c.parquet"))
    assert held < capture_bytes(tokens, positions, 32, 1500, 64)
    assert capture_bytes(0, 1, 32, 151_936) == 200
