"""Checkpoints that are not what they look like are named before anything is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from quantize.formats.checkpoint import Checkpoint
from runtime.errors import MissingError, ModelError


@pytest.fixture
def checkpoint(tiny_llama: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_llama, tmp_path / "checkpoint")


def add_head(folder: Path, *, scale: float) -> None:
    """An output layer: the embedding times `scale`."""
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone() * scale
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_checkpoint_that_is_tied_with_a_head_of_its_own_is_refused(checkpoint: Path) -> None:
    add_head(checkpoint, scale=2.0)
    with pytest.raises(ModelError, match="an output layer of its own") as caught:
        Checkpoint(checkpoint)
    assert caught.value.where.endswith("config.json")


def test_checkpoint_that_stores_its_tied_head_once_more_is_read(checkpoint: Path) -> None:
    add_head(checkpoint, scale=1.0)
    names = dict(Checkpoint(checkpoint).tensors())
    assert torch.equal(names["lm_head.weight"], names["model.embed_tokens.weight"])


def test_checkpoint_with_a_head_that_says_so_is_read(checkpoint: Path) -> None:
    add_head(checkpoint, scale=2.0)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    assert not Checkpoint(checkpoint).shape.tied


def test_lora_adapter_folder_is_told_to_be_merged(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="a LoRA adapter, not a model") as caught:
        Checkpoint(tmp_path)
    assert "merge" in caught.value.hint


def test_checkpoint_without_weights_names_the_file(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(MissingError, match="no such weights file"):
        Checkpoint(checkpoint)


@pytest.mark.parametrize(("heads", "kv_heads"), [(0, 1), (0, 0), (4, 3), (-4, 2), (4, -2)])
def test_heads_that_cannot_be_shared_are_refused(heads: int, kv_heads: int, checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": None}
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="attention heads cannot share") as caught:
        Checkpoint(checkpoint)
    assert caught.value.where.endswith("config.json")
