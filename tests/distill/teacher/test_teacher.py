"""A GGUF teaches what its checkpoint would: the same packs, the same probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.packing.packing import Pack
from distill.student.divergence import hold_out, measure_divergence
from distill.student.merge_lora import save_checkpoint
from distill.teacher.capture import capture, read_capture
from distill.teacher.teacher import CheckpointTeacher, GgufTeacher
from quantize.formats.gguf_writer import write_gguf
from runtime.engine.llama.scorer import LlamaScorer
from runtime.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def teacher(tiny_llama: Path, open_model: Callable[..., Any]) -> Any:
    return open_model(tiny_llama)


@pytest.fixture(scope="module")
def gguf(teacher: Any, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights, in half precision."""
    folder = tmp_path_factory.mktemp("gguf")
    teacher.half().float()  # what a file of half precision can hold
    save_checkpoint(teacher, tiny_llama, folder / "checkpoint")
    write_gguf(folder / "checkpoint", folder / "teacher.gguf")
    return folder / "teacher.gguf"


def open_gguf(gguf: Path) -> LlamaScorer:
    return LlamaScorer(gguf, context=700, threads=1, f32_cache=True)


def test_both_read_the_same_logits_in_front_of_every_reply_token(teacher: Any, gguf: Path, packs: list[Pack]) -> None:
    pack = max(packs, key=lambda pack: len(pack.branches))
    assert len(pack.branches) > 2
    wanted = torch.cat(list(CheckpointTeacher(teacher, "f32").read(pack)[0]))
    with open_gguf(gguf) as file:
        rows, states = GgufTeacher(file).read(pack)
        got = torch.cat(list(rows))
    assert states is None
    assert got.shape == wanted.shape == (len(pack.reply_targets()), teacher.config.vocab_size)
    torch.testing.assert_close(torch.log_softmax(got, -1), torch.log_softmax(wanted, -1), rtol=0.02, atol=0.05)


def test_a_capture_from_a_gguf_is_that_of_its_checkpoint(
    teacher: Any, gguf: Path, packs: list[Pack], tmp_path: Path
) -> None:
    capture(teacher, packs, tmp_path / "torch", k=8, precision="f32")
    with open_gguf(gguf) as file:
        figures = capture(GgufTeacher(file), packs, tmp_path / "gguf", k=8)
        hold_out(GgufTeacher(file), packs, tmp_path / "held_out")
    for ours, theirs in zip(read_capture(tmp_path / "gguf"), read_capture(tmp_path / "torch"), strict=True):
        assert ours.pack == theirs.pack
        assert (ours.ids[:, 0] == theirs.ids[:, 0]).mean() > 0.9
        np.testing.assert_allclose(
            ours.logprobs.astype(np.float32), theirs.logprobs.astype(np.float32), rtol=0.05, atol=0.05
        )
    assert figures["positions"] == sum(len(pack.reply_targets()) for pack in packs)
    distance = measure_divergence(teacher, packs, tmp_path / "held_out", precision="f32")
    assert distance["kl"] < 0.01
    assert distance["top1"] > 0.9


def test_what_a_gguf_cannot_give_is_said(gguf: Path, packs: list[Pack], tmp_path: Path) -> None:
    with open_gguf(gguf) as file:
        with pytest.raises(UsageError, match="no hidden states"):
            capture(GgufTeacher(file), packs, tmp_path / "c", states=True)
        with pytest.raises(ModelError, match="tokens, its student"):
            capture(GgufTeacher(file), packs, tmp_path / "c", vocabulary=10**6)
    assert not (tmp_path / "c").exists()
