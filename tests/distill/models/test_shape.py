"""What is only part of a model is refused by name, and sizes are read off without loading weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter
from safetensors.torch import load_file, save_file

from distill.models.catalogue import open_base
from distill.models.gguf_import import read_metadata
from distill.models.shape import LLAMA_LAYERS, DecoderShape, checkpoint_shape, gguf_shape
from quantize.formats.gguf_writer import write_gguf
from runtime.errors import ModelError

TINY = DecoderShape(layers=4, kv_heads=2, feed_forward=128, head_size=16, queries=2, linear=LLAMA_LAYERS)
Change = Callable[[Path], None]


def edit_config(**keys: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))

    return change


def leave_adapter_only(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")


def name_absent_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.move(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors")


def give_own_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (leave_adapter_only, "a LoRA adapter of owner/base, not a model"),
        (name_absent_shard, "model-00002-of-00002.safetensors is missing, one of 2 files"),
        (give_own_head, "lm_head.weight is not the embeddings"),
        (edit_config(quantization_config={"quant_method": "gptq"}), r"quantized \(gptq\)"),
        (edit_config(intermediate_size=None), "not a decoder's"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not a JSON object"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 9), "not a safetensors file"),
    ],
)
def test_checkpoint_that_is_part_of_a_model_is_refused_by_name(
    change: Change, said: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "checkpoint")
    change(folder)
    with pytest.raises(ModelError, match=said) as error:
        checkpoint_shape(folder)
    assert error.value.hint


def test_checkpoint_that_is_part_of_a_model_is_no_base(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "adapter")
    leave_adapter_only(folder)
    with pytest.raises(ModelError, match="LoRA adapter"):
        open_base(str(folder), lambda _: None)


def test_checkpoint_with_a_copy_of_its_embeddings_as_head_loses_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file({name: weight.to(torch.bfloat16) for name, weight in weights.items()}, folder / "model.safetensors")
    assert checkpoint_shape(folder) == TINY


def test_shape_is_the_same_of_a_checkpoint_and_its_gguf(tiny_llama: Path, tiny_qwen3: Path, tmp_path: Path) -> None:
    write_gguf(tiny_llama, tmp_path / "tiny.gguf")
    assert checkpoint_shape(tiny_llama) == TINY
    assert gguf_shape(read_metadata(tmp_path / "tiny.gguf"), tmp_path / "tiny.gguf") == TINY
    assert checkpoint_shape(tiny_qwen3).head_size == 32


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"split.count": 3, "split.no": 1}, "shard 2 of 3"),
        ({"general.type": "adapter"}, "type 'adapter'"),
        ({"general.type": "mmproj"}, "type 'mmproj'"),
        ({}, "not a decoder's"),
    ],
)
def test_gguf_that_is_part_of_a_model_is_refused_by_name(keys: dict[str, int | str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "model-00002-of-00003.gguf"
    writer = GGUFWriter(path, "llama")
    for key, value in keys.items():
        if isinstance(value, int):
            writer.add_uint16(key, value)
        else:
            writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match=said):
        gguf_shape(read_metadata(path), path)
    if keys:
        with pytest.raises(ModelError, match=said):
            open_base(str(path), lambda _: None)
