"""A Hugging Face checkpoint folder as the quantizers see it: shape, tensors one at a time, tokenizer.

Promises: a folder that cannot be converted is refused here with the reason, before anything is written; weights are
read one tensor at a time, so memory stays at the largest tensor. Knows nothing of GGUF and ONNX.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.base.files import read_text
from runtime.base.manifest import MANIFEST, digest, list_files, read_manifest
from runtime.errors import InputError, MissingError, ModelError

if TYPE_CHECKING:
    import torch

MAX_TOKENIZER_BYTES = 64 * 1024 * 1024
"""A tokenizer.json of 150,000 pieces has about 7 MB, one of 250,000 about 17 MB."""


_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
ARCHITECTURES: Mapping[str, str] = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "smollm3": "smollm3",
    "granite": "granite",
    "phi3": "phi3",
}
"""transformers' `model_type` → llama.cpp's architecture that computes the same."""
_TIED_BY_DEFAULT = ("smollm3",)
_NO_ROPE_EVERY = 4
"""llama.cpp's SmolLM3 leaves the rotation out in every fourth layer, whatever the configuration says."""


@dataclass(frozen=True)
class Multipliers:
    """Granite's constant factors."""

    embedding: float
    attention: float
    """In place of 1 / sqrt(head_dim)."""
    residual: float
    logits: float
    """What logits are divided by."""


@dataclass(frozen=True)
class ModelShape:
    """What the sizes and the layout of a decoder follow from; lengths in elements."""

    architecture: str
    """llama.cpp's name of it, a value of `ARCHITECTURES`."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocab: int
    """Rows of the embedding, padding rows included."""
    context: int
    norm_eps: float
    rope_theta: float
    rope_scaling: Mapping[str, Any] | None
    tied: bool
    """Whether the output layer is the embedding."""
    multipliers: Multipliers | None = None
    """Of Granite."""

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of f16 keys and values that one token of context takes."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def parameters(self) -> int:
        """Weights of its matrices; norms and biases, under a thousandth, are left out."""
        attention = 2 * (self.heads + self.kv_heads) * self.head_dim * self.hidden
        tables = (1 if self.tied else 2) * self.vocab * self.hidden
        return tables + self.layers * (attention + 3 * self.feed_forward * self.hidden)


def read_shape(config: Mapping[str, Any], where: str = "config.json") -> ModelShape:
    """The shape named by a `config.json`; `ModelError` for architectures and options that the writers do not cover."""
    family = str(config.get("model_type", ""))
    if family not in ARCHITECTURES:
        raise ModelError(
            f"architecture '{family or 'unnamed'}'", where=where, hint=f"{', '.join(ARCHITECTURES)} can be converted"
        )
    _refuse_what_differs(config, family, where)
    if str(config.get("hidden_act", "silu")) != "silu":
        raise ModelError(
            f"activation '{config['hidden_act']}'", where=where, hint="llama.cpp runs these models with silu"
        )
    scaling = config.get("rope_scaling")
    kind = str((scaling or {}).get("rope_type", (scaling or {}).get("type", "default")))
    if kind not in ("default", "linear", "llama3"):
        raise ModelError(f"rope scaling '{kind}'", where=where, hint="default, linear and llama3 are covered")
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        if heads < 1 or kv_heads < 1 or heads % kv_heads:
            raise ModelError(
                f"{heads} attention heads cannot share {kv_heads} key-value heads",
                where=where,
                hint="num_attention_heads is a multiple of num_key_value_heads, and neither is 0; save the model again",
            )
        return ModelShape(
            architecture=ARCHITECTURES[family],
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=int(config.get("head_dim") or hidden // heads),
            feed_forward=int(config["intermediate_size"]),
            vocab=int(config["vocab_size"]),
            context=int(config.get("max_position_embeddings", 2048)),
            norm_eps=float(config.get("rms_norm_eps", 1e-6)),
            rope_theta=float(config.get("rope_theta", 10000.0)),
            rope_scaling=None if kind == "default" else {**(scaling or {}), "rope_type": kind},
            # transformers leaves out of config.json what its class has as a default.
            tied=bool(config.get("tie_word_embeddings", family in _TIED_BY_DEFAULT)),
            multipliers=_multipliers(config) if family == "granite" else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the configuration lacks or garbles {error}", where=where, hint="save the model again"
        ) from None


def _refuse_what_differs(config: Mapping[str, Any], family: str, where: str) -> None:
    """`ModelError` for options under which llama.cpp's graph is another than transformers'."""
    window, context = config.get("sliding_window"), int(config.get("max_position_embeddings") or 0)
    # Mistral and Phi have no switch: a window that holds the whole context is none.
    always_on = family in ("mistral", "phi3") and window is not None and int(window) < context
    if config.get("use_sliding_window") or always_on:
        raise ModelError(
            "sliding-window attention",
            where=where,
            hint="set use_sliding_window to false (sliding_window to null), or train without",
        )
    if family == "smollm3":
        layers = int(config.get("num_hidden_layers") or 0)
        rotated = config.get("no_rope_layers") or []
        usual = [int((layer + 1) % _NO_ROPE_EVERY != 0) for layer in range(layers)]
        if [int(bool(one)) for one in rotated] != usual:
            raise ModelError(
                "layers without rotation that are not every fourth",
                where=where,
                hint="llama.cpp runs SmolLM3 with no_rope_layer_interval = 4",
            )
    if family == "phi3" and float(config.get("partial_rotary_factor") or 1.0) != 1.0:
        raise ModelError(
            f"rotation of a part of each head ({config['partial_rotary_factor']})",
            where=where,
            hint="Phi-3 models without partial_rotary_factor can be converted",
        )


def _multipliers(config: Mapping[str, Any]) -> Multipliers:
    return Multipliers(
        embedding=float(config.get("embedding_multiplier", 1.0)),
        attention=float(config.get("attention_multiplier", 1.0)),
        residual=float(config.get("residual_multiplier", 1.0)),
        logits=float(config.get("logits_scaling", 1.0)),
    )


class Checkpoint:
    """A folder with config.json, tokenizer.json and safetensors weights."""

    def __init__(self, folder: Path) -> None:
        """`MissingError` naming the first file that is not there, `InputError` for one that is not JSON."""
        self.folder = folder
        if not folder.is_dir():
            raise MissingError(
                "no such checkpoint folder", where=str(folder), hint="give the folder that distill wrote"
            )
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            raise ModelError(
                "a LoRA adapter, not a model",
                where=str(folder),
                hint="merge it into its base model first (peft: merge_and_unload), and give the merged folder",
            )
        self.config = read_json(folder / "config.json")
        self.shape = read_shape(self.config, str(folder / "config.json"))
        self.tokenizer = read_json(folder / "tokenizer.json", max_bytes=MAX_TOKENIZER_BYTES)
        named = folder / "tokenizer_config.json"
        self.tokenizer_config = read_json(named) if named.is_file() else {}
        self._files = _weight_files(folder)
        if self.shape.tied and _HEAD in self._files and not self._head_is_embedding():
            raise ModelError(
                "tie_word_embeddings is true, but the checkpoint has an output layer of its own",
                where=str(folder / "config.json"),
                hint="set it to false where the model was trained so, else delete lm_head.weight",
            )

    def _head_is_embedding(self) -> bool:
        """Whether the output layer that is stored is the embedding once more; some programs save both."""
        found = dict(self._read((_HEAD, _EMBEDDING)))
        return _EMBEDDING in found and found[_HEAD].equal(found[_EMBEDDING])

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that rides along in a GGUF for other programs; Edgedesk itself reads prompt.json."""
        beside = self.folder / "chat_template.jinja"
        if beside.is_file():
            return read_text(beside)
        template = self.tokenizer_config.get("chat_template")
        return template if isinstance(template, str) else None

    def special_id(self, role: str) -> int | None:
        """`bos`, `eos` or `pad`: the id config.json names (the first of several), else none."""
        value = self.config.get(f"{role}_token_id")
        if isinstance(value, list):
            value = value[0] if value else None
        return int(value) if value is not None else None

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor by its Hugging Face name, in a stable order, loaded when it is reached."""
        return self._read(sorted(self._files))

    def _read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """Tensors that are there, one after the other."""
        from safetensors import safe_open

        for name in names:
            if name in self._files:
                with safe_open(self._files[name], framework="pt") as weights:
                    yield name, weights.get_tensor(name)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape, read from the headers alone."""
        from safetensors import safe_open

        out: dict[str, tuple[int, ...]] = {}
        for file in sorted(set(self._files.values())):
            with safe_open(file, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    out[name] = tuple(weights.get_slice(name).get_shape())
        return out


def fingerprint(folder: Path) -> str:
    """A hash of a stage folder's files: from its manifest where it has one, else by reading them."""
    if not folder.exists():
        raise MissingError("no such folder", where=str(folder), hint="run the stage that makes it")
    files = read_manifest(folder).files if (folder / MANIFEST).is_file() else list_files(folder)
    return digest([[entry.path, entry.sha256] for entry in files])


def read_json(path: Path, *, max_bytes: int = 4 * 1024 * 1024) -> dict[str, Any]:
    """A JSON object from a file; `MissingError`, or `InputError` with the line."""
    try:
        value = json.loads(read_text(path, max_bytes=max_bytes))
    except json.JSONDecodeError as error:
        raise InputError(
            f"not JSON ({error.msg})", where=f"{path}:{error.lineno}", hint="copy the file again"
        ) from None
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=str(path), hint="copy the file again")
    return value


def _weight_files(folder: Path) -> dict[str, Path]:
    """Tensor name → safetensors file, for a single file or an indexed set of shards."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = {str(name) for name in read_json(index, max_bytes=MAX_TOKENIZER_BYTES).get("weight_map", {}).values()}
    else:
        shards = {"model.safetensors"}
    files: dict[str, Path] = {}
    for shard in sorted(shards):
        path = folder / shard
        if path.parent != folder or not path.is_file():
            raise MissingError("no such weights file", where=str(path), hint="save the model with safetensors")
        try:
            with safe_open(path, framework="pt") as weights:
                files |= dict.fromkeys(weights.keys(), path)
        except SafetensorError as error:
            raise InputError(f"damaged weights ({error})", where=str(path), hint="copy or build it again") from None
    return files
