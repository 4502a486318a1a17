"""Student against teacher: the figures that a gate rests on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.packing.forward import forward
from distill.packing.packing import Pack
from distill.student.divergence import hold_out, measure_divergence


def against(student: Any, teacher: Any, packs: list[Pack], folder: Path, **chunk: int) -> dict[str, float]:
    hold_out(teacher, packs, folder / "held_out.safetensors", precision="f32")
    return measure_divergence(student, packs, folder / "held_out.safetensors", precision="f32", **chunk)


def test_a_model_is_its_own_equal(
    tiny_llama: Path, open_model: Callable[..., Any], packs: list[Pack], tmp_path: Path
) -> None:
    model = open_model(tiny_llama)
    figures = against(model, model, packs, tmp_path)
    assert figures == {"kl": 0.0, "top1": 1.0, "tokens": sum(len(pack.reply_targets()) for pack in packs)}


@pytest.mark.parametrize("chunk", [3, 1000])
def test_it_is_the_mean_over_reply_tokens_however_they_are_cut(
    chunk: int,
    tiny_llama: Path,
    open_model: Callable[..., Any],
    packs: list[Pack],
    tmp_path: Path,
) -> None:
    student, teacher = open_model(tiny_llama), open_model(tiny_llama, widen=6)
    kl, same = [], []
    with torch.no_grad():
        for pack in packs:
            ours, theirs = (
                torch.log_softmax(model.lm_head(forward(model, pack)[pack.reply_targets()]), -1)
                for model in (student, teacher)
            )
            kl.append(torch.nn.functional.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1))
            same.append(ours.argmax(-1) == theirs.argmax(-1))
    figures = against(student, teacher, packs, tmp_path, chunk=chunk)
    assert figures["kl"] == pytest.approx(torch.cat(kl).mean().item(), abs=1e-4)
    assert figures["kl"] > 0.01
    assert figures["top1"] == pytest.approx(torch.cat(same).float().mean().item(), abs=1e-4)
    assert against(teacher, student, packs, tmp_path)["kl"] != figures["kl"]
