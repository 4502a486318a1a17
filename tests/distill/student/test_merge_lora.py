"""Merging: the sum is the same model, or it is refused; what is written is a checkpoint of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.packing.forward import forward
from distill.packing.packing import Pack
from distill.recipe.settings import LoraSettings
from distill.student.merge_lora import TOLERANCE, merge_adapters
from distill.student.training import tune
from runtime.errors import ModelError
from runtime.prompting.json_tokenizer import JsonTokenizer

OpenModel = Callable[..., Any]


@pytest.fixture
def wrapped(tiny_llama: Path, open_model: OpenModel, packs: list[Pack], tmp_path: Path) -> Any:
    settings = LoraSettings(learning_rate=5e-3, rank=4, precision="f32")
    return tune(open_model(tiny_llama), packs, settings, tmp_path / "scratch", lambda _: None)[0]


def reply_logits(model: Any, pack: Pack) -> torch.Tensor:
    with torch.no_grad():
        return model.lm_head(forward(model, pack)[pack.reply_targets()])


def test_logits_before_and_after_are_the_same_and_so_are_those_read_back(
    wrapped: Any, tiny_llama: Path, open_model: OpenModel, packs: list[Pack], tmp_path: Path
) -> None:
    out = tmp_path / "merged"
    core = wrapped.eval().get_base_model()
    before = [reply_logits(core, pack) for pack in packs]
    untuned = reply_logits(open_model(tiny_llama), packs[0])
    figures = merge_adapters(wrapped, packs, tiny_llama, out)
    assert figures["largest_logit_difference"] <= TOLERANCE
    again = open_model(out, widen=1)
    for pack, logits in zip(packs, before, strict=True):
        assert (reply_logits(again, pack) - logits).abs().max() <= TOLERANCE
    assert (untuned - before[0]).abs().max() > 10 * TOLERANCE  # the adapter did something


def test_a_merge_that_moves_a_logit_is_refused_and_writes_nothing(
    wrapped: Any, tiny_llama: Path, packs: list[Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = wrapped.merge_and_unload

    def tampered(**options: Any) -> Any:
        model = honest(**options)
        with torch.no_grad():
            model.model.layers[1].mlp.up_proj.weight[3, 3] += 1
        return model

    monkeypatch.setattr(wrapped, "merge_and_unload", tampered)
    with pytest.raises(ModelError, match="merging moved a logit"):
        merge_adapters(wrapped, packs, tiny_llama, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_adapter_that_is_no_number_is_refused(
    value: float, wrapped: Any, tiny_llama: Path, packs: list[Pack], tmp_path: Path
) -> None:
    adapter = next(weight for name, weight in wrapped.named_parameters() if "lora_B" in name)
    with torch.no_grad():
        adapter.fill_(value)
    with pytest.raises(ModelError):
        merge_adapters(wrapped, packs, tiny_llama, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_folder_is_a_whole_checkpoint(wrapped: Any, tiny_llama: Path, packs: list[Pack], tmp_path: Path) -> None:
    from safetensors import safe_open
    from transformers import AutoTokenizer

    out = tmp_path / "merged"
    merge_adapters(wrapped, packs, tiny_llama, out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (out / name).read_bytes() == (tiny_llama / name).read_bytes()
    config = json.loads((out / "config.json").read_text())
    assert config["use_cache"] is True
    assert config["dtype"] == "float32"
    with safe_open(out / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "lora" in name or "base_layer" in name]  # noqa: SIM118
    loaded = AutoTokenizer.from_pretrained(out)
    assert loaded.chat_template == AutoTokenizer.from_pretrained(tiny_llama).chat_template
    assert loaded.encode("退货 49") == JsonTokenizer(tiny_llama).encode("退货 49", control=True)
