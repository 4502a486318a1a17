"""The sizes of a decoder and the names of its layers, read off files without loading a weight.

    checkpoint folder   config.json, and the headers of its safetensors files
    GGUF file           its metadata

What a recipe asks of a model is compared with this before any work. Promises: a folder or file that is only part of a
model (a LoRA adapter, one shard of several, a checkpoint that would lose its output layer) is refused by name. Knows
nothing of recipes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.base.files import read_text
from runtime.errors import ModelError

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format itself."""
LLAMA_LAYERS = frozenset(("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"))
"""Linear layers of Llama, Qwen2, Mistral and their kin, the architectures that are imported from GGUF."""
_INDEX = "model.safetensors.index.json"
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a decoder-only model."""

    layers: int
    kv_heads: int
    """Key-value heads a layer."""
    feed_forward: int
    """Feed-forward units a layer."""
    head_size: int
    """Columns of the output projection that one query head writes."""
    queries: int
    """Query heads that read one key-value head."""
    linear: frozenset[str]
    """Names of the linear layers, such as `q_proj`."""


def checkpoint_shape(folder: Path) -> DecoderShape:
    """The shape of a checkpoint; `ModelError` for a folder that is no whole checkpoint of a decoder."""
    check_checkpoint(folder)
    config = _config(folder)
    try:
        heads = int(config["num_attention_heads"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        return DecoderShape(
            layers=int(config["num_hidden_layers"]),
            kv_heads=kv_heads,
            feed_forward=int(config["intermediate_size"]),
            head_size=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            queries=heads // kv_heads,
            linear=frozenset(_linear_names(folder)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"config.json is not a decoder's ({error})", where=str(folder), hint="give a causal language model"
        ) from None


def gguf_shape(metadata: Mapping[str, Any], gguf: Path) -> DecoderShape:
    """The shape that a GGUF's metadata gives; `ModelError` for a file that is no whole decoder."""
    check_gguf(metadata, gguf)
    kind = metadata.get("general.architecture", "")
    try:
        heads = int(metadata[f"{kind}.attention.head_count"])
        kv_heads = int(metadata.get(f"{kind}.attention.head_count_kv") or heads)
        width = int(metadata[f"{kind}.embedding_length"])
        return DecoderShape(
            layers=int(metadata[f"{kind}.block_count"]),
            kv_heads=kv_heads,
            feed_forward=int(metadata[f"{kind}.feed_forward_length"]),
            head_size=int(metadata.get(f"{kind}.attention.key_length") or width // heads),
            queries=heads // kv_heads,
            linear=LLAMA_LAYERS,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"its metadata is not a decoder's ({error})", where=str(gguf), hint="give a causal language model"
        ) from None


def check_gguf(metadata: Mapping[str, Any], gguf: Path) -> None:
    """`ModelError` for a GGUF that is an adapter, a projector or one file of several."""
    kind = metadata.get("general.type", "model")
    if kind != "model":
        raise ModelError(
            f"this GGUF is of type '{kind}', not a model",
            where=str(gguf),
            hint="merge an adapter into its base first" if kind == "adapter" else "give the model's own file",
        )
    shards = int(metadata.get("split.count") or 1)
    if shards > 1:
        number = int(metadata.get("split.no") or 0) + 1
        raise ModelError(
            f"this GGUF is shard {number} of {shards}, not the whole model",
            where=str(gguf),
            hint="join them: llama-gguf-split --merge FIRST-SHARD OUT.gguf",
        )


def check_checkpoint(folder: Path) -> None:
    """`ModelError` for a folder that transformers would not load, or not as it was trained."""
    adapter = folder / "adapter_config.json"
    if adapter.is_file() and not (folder / "config.json").is_file():
        base = _json(adapter).get("base_model_name_or_path") or "its base"
        raise ModelError(
            f"a LoRA adapter of {base}, not a model",
            where=str(folder),
            hint="merge it into its base with peft's merge_and_unload(), save that, and give the folder",
        )
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if missing or not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"not a checkpoint: {(missing or ['*.safetensors'])[0]} is missing",
            where=str(folder),
            hint="save_pretrained() writes such a folder; pickled weights are not read",
        )
    if (folder / _INDEX).is_file():
        shards = sorted(set(_json(folder / _INDEX).get("weight_map", {}).values()))
        if absent := [name for name in shards if not (folder / name).is_file()]:
            raise ModelError(
                f"{absent[0]} is missing, one of {len(shards)} files of weights",
                where=str(folder),
                hint="download the whole checkpoint",
            )
    config = _config(folder)
    if method := (config.get("quantization_config") or {}).get("quant_method"):
        raise ModelError(
            f"the checkpoint is quantized ({method}), which cannot be trained on",
            where=str(folder),
            hint="give the original checkpoint in bf16 or f32",
        )
    if config.get("tie_word_embeddings"):
        _check_tied(folder)


def _check_tied(folder: Path) -> None:
    """`ModelError` for a checkpoint that says its output layer is its embeddings, but carries another one."""
    found = {
        name: (path, entry) for path in sorted(folder.glob("*.safetensors")) for name, entry in _header(path).items()
    }
    names = ("lm_head.weight", "model.embed_tokens.weight")
    if all(name in found for name in names) and not _equal_bytes(*(found[name] for name in names)):
        raise ModelError(
            "tie_word_embeddings is true, but lm_head.weight is not the embeddings: it would be lost",
            where=str(folder / "config.json"),
            hint='set "tie_word_embeddings": false in config.json',
        )


def _equal_bytes(left: tuple[Path, Any], right: tuple[Path, Any]) -> bool:
    """Whether two tensors of safetensors files are the same; raw bytes, so that bf16 needs no library."""
    if any(left[1].get(key) != right[1].get(key) for key in ("dtype", "shape")):
        return False
    first, second = left[0].open("rb"), right[0].open("rb")
    sizes: list[int] = []
    with first, second:
        for file, (path, entry) in ((first, left), (second, right)):
            begin, end = entry["data_offsets"]
            file.seek(8 + _header_bytes(path) + begin)
            sizes.append(end - begin)
        left_over = min(sizes)
        while left_over > 0:
            size = min(_READ_BYTES, left_over)
            if first.read(size) != second.read(size):
                return False
            left_over -= size
    return len(set(sizes)) == 1


def _linear_names(folder: Path) -> set[str]:
    """Names of the decoder's two-dimensional weights that are neither embeddings nor output layer."""
    names = set()
    for path in folder.glob("*.safetensors"):
        for name, entry in _header(path).items():
            parts = name.split(".")
            if ".layers." in name and parts[-1] == "weight" and len(entry.get("shape", ())) == 2:
                names.add(parts[-2])
    return names


def _header(path: Path) -> dict[str, Any]:
    """{tensor: {"dtype", "shape", "data_offsets"}} of a safetensors file."""
    size = _header_bytes(path)
    with path.open("rb") as file:
        file.seek(8)
        text = file.read(size)
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ModelError("not a safetensors file", where=str(path), hint="download it again")
    return {name: entry for name, entry in header.items() if name != "__metadata__" and isinstance(entry, dict)}


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if not 0 < size <= min(MAX_HEADER_BYTES, path.stat().st_size):
        raise ModelError("not a safetensors file", where=str(path), hint="download it again")
    return size


def _config(folder: Path) -> dict[str, Any]:
    return _json(folder / "config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{path.name} is not a JSON object", where=str(path.parent), hint="download it again")
    return found
