"""Capture: what the teacher thought is stored small and exact, and a file that is not whole is never read as one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distill.compute.resumable_parquet import ResumableParquet
from distill.packing.forward import forward
from distill.packing.packing import Pack
from distill.teacher.capture import capture, read_capture, top_logprobs
from distill.teacher.teacher import CheckpointTeacher
from runtime.base import files
from runtime.base.build_stage import stage
from runtime.errors import IntegrityError, ModelError, SpaceError
from tests.distill.conftest import disk_of


@pytest.fixture(scope="module")
def teacher(tiny_llama: Path, open_model: Callable[[Path], Any]) -> Any:
    return open_model(tiny_llama)


@pytest.fixture(scope="module")
def written(teacher: Any, packs: list[Pack], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "capture.parquet"
    capture(teacher, packs, path, k=8, precision="f32")
    return path


@pytest.mark.parametrize("vocab", [5, 64, 65, 640, 1000, 2049])
@pytest.mark.parametrize("k", [1, 4])
def test_top_logprobs_are_those_of_the_whole_vocabulary(vocab: int, k: int) -> None:
    logits = torch.randn(33, vocab, generator=torch.Generator().manual_seed(vocab)) * 5
    wanted, wanted_ids = torch.log_softmax(logits, -1).topk(k, -1)
    got, ids = top_logprobs(logits, k)
    torch.testing.assert_close(got, wanted)
    assert torch.equal(ids, wanted_ids)


def test_top_logprobs_may_all_lie_in_one_block_or_in_the_last() -> None:
    logits = torch.zeros(2, 64 * 40 + 7)
    logits[0, 100:108] = torch.arange(8.0) + 1
    logits[1, -7:] = torch.arange(7.0) + 1
    got, ids = top_logprobs(logits, 7)
    assert ids.tolist() == [list(range(107, 100, -1)), list(range(64 * 40 + 6, 64 * 40 - 1, -1))]
    torch.testing.assert_close(got, torch.log_softmax(logits, -1).topk(7, -1).values)


def test_what_is_read_is_what_the_teacher_said(teacher: Any, packs: list[Pack], written: Path) -> None:
    rows = list(read_capture(written))
    assert [row.pack for row in rows] == packs
    for row, pack in zip(rows, packs, strict=True):
        assert row.index.tolist() == pack.reply_targets()
        assert row.states is None
        with torch.no_grad():
            logits = teacher.lm_head(forward(teacher, pack)[row.index.tolist()])
        wanted, ids = torch.log_softmax(logits, -1).topk(8, -1)
        np.testing.assert_allclose(row.logprobs.astype(np.float32), wanted.numpy(), rtol=2e-3, atol=1e-3)
        assert (row.ids == ids.numpy()).mean() > 0.99  # two tokens within f32 rounding of each other may change places
        assert row.ids.dtype == np.int32
        assert row.logprobs.dtype == np.float16


def test_states_are_the_teachers_at_every_token(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    capture(teacher, packs, tmp_path / "c", k=2, states=True, precision="f32")
    for row, pack in zip(read_capture(tmp_path / "c"), packs, strict=True):
        assert row.states is not None
        assert row.states.dtype == np.float16
        with torch.no_grad():
            np.testing.assert_allclose(row.states, forward(teacher, pack).numpy(), rtol=2e-3, atol=1e-3)


def test_figures_count_what_was_written(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    seen: list[int] = []
    figures = capture(teacher, packs, tmp_path / "c", k=1500, precision="f32", advance=seen.append)
    assert figures["tokens"] == sum(len(pack.tokens) for pack in packs) == sum(seen)
    assert figures["records"] == sum(len(pack.records) for pack in packs)
    assert figures["positions"] == sum(len(pack.reply_targets()) for pack in packs)
    assert figures["captured_mass"] == pytest.approx(1, abs=1e-3)


def test_a_position_takes_at_most_200_bytes_at_k_32_with_a_large_vocabulary(
    teacher: Any, tmp_path: Path, tiny_llama: Path
) -> None:
    """Over 65,536 tokens need four bytes an id; ids of a random head are the hardest to compress."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(tiny_llama, vocab_size=151_936, num_hidden_layers=1)
    large = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    tokens = torch.randint(151_936, (400,), generator=torch.Generator().manual_seed(2)).tolist()
    pack = Pack(tuple(tokens), 20, ((20, 30, 400),), ("r",))
    figures = capture(large, [pack], tmp_path / "c", k=32)
    (row,) = read_capture(tmp_path / "c")
    assert row.ids.max() > 1 << 16
    assert row.ids.shape == (figures["positions"], 32)
    assert figures["bytes_a_position"] == pytest.approx((tmp_path / "c").stat().st_size / len(row.index), abs=0.1)
    assert figures["bytes_a_position"] <= 200


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(written: Path, tmp_path: Path, share: float) -> None:
    data = written.read_bytes()
    path = tmp_path / "capture.parquet"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(IntegrityError, match=r"capture\.parquet"):
        list(read_capture(path))


def test_a_file_damaged_within_is_refused(written: Path, tmp_path: Path) -> None:
    data = bytearray(written.read_bytes())
    data[4:4000] = b"\xff" * 3996
    path = tmp_path / "capture.parquet"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"capture\.parquet"):
        list(read_capture(path))


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"column": [1, 2]}), path)
    with pytest.raises(IntegrityError, match="not a finished capture"):
        list(read_capture(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="capture"):
        list(read_capture(tmp_path / "capture.parquet"))


def test_a_disk_that_fills_up_leaves_no_stage_folder(teacher: Any, packs: list[Pack], tmp_path: Path) -> None:
    def work(folder: Path) -> dict[str, float]:
        with disk_of(2000):
            return capture(teacher, packs, folder / "capture.parquet", precision="f32")

    with pytest.raises(SpaceError, match="disk is full"):
        stage(tmp_path / "capture", "capture", {}, work)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_the_capture_of_the_last_run(
    teacher: Any, packs: list[Pack], tmp_path: Path
) -> None:
    folder = tmp_path / "capture"
    stage(folder, "capture", {"k": 4}, lambda out: capture(teacher, packs, out / "capture.parquet", k=4))

    def work(out: Path) -> dict[str, float]:
        with disk_of(2000):
            return capture(teacher, packs, out / "capture.parquet", k=8)

    with pytest.raises(SpaceError):
        stage(folder, "capture", {"k": 8}, work)
    assert {row.ids.shape[1] for row in read_capture(folder / "capture.parquet")} == {4}


def test_a_teacher_that_gives_no_numbers_is_refused_and_what_was_captured_stays(
    tiny_llama: Path, open_model: Callable[..., Any], packs: list[Pack], tmp_path: Path
) -> None:
    parts = ResumableParquet(tmp_path / "parts", {})
    model = open_model(tiny_llama)

    def damage(_tokens: int) -> None:
        with torch.no_grad():
            model.model.norm.weight[3] = float("nan")

    with pytest.raises(ModelError, match="no numbers"):
        capture(model, packs[:2], tmp_path / "c.parquet", parts=parts, part_packs=1, advance=damage)
    assert parts.path(0).is_file()
    assert not parts.path(1).exists()


class ShortOfMemory(CheckpointTeacher):
    """Reads one pack and then finds no memory."""

    def __init__(self, model: Any, error: Exception) -> None:
        super().__init__(model, "f32")
        self._error, self._read = error, 0

    def read(self, pack: Pack) -> Any:
        self._read += 1
        if self._read > 1:
            raise self._error
        return super().read(pack)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 9 GiB")])
def test_a_teacher_that_runs_out_of_memory_says_so_and_what_was_captured_stays(
    error: Exception, teacher: Any, packs: list[Pack], tmp_path: Path
) -> None:
    parts = ResumableParquet(tmp_path / "parts", {})
    with pytest.raises(ModelError, match="out of memory at a pack of") as raised:
        capture(ShortOfMemory(teacher, error), packs, tmp_path / "c", k=2, parts=parts, part_packs=1)
    assert "GGUF" in raised.value.hint
    assert parts.path(0).is_file()
    assert not (tmp_path / "c").exists()


def test_too_little_space_is_said_before_the_teacher_runs(
    teacher: Any, packs: list[Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    seen: list[int] = []
    with pytest.raises(SpaceError, match="the capture needs"):
        capture(teacher, packs, tmp_path / "c", advance=seen.append)
    assert seen == []
    assert not (tmp_path / "c").exists()
