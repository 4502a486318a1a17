"""A Hugging Face checkpoint (Llama, Mistral, Qwen, SmolLM3, Granite, Phi-3) → one GGUF file in f16 or f32.

The converter inside llama-cpp-python's source does not run with PyPI's gguf, so this is a small writer of our own.
Promises: the file appears whole or not at all; weights stream, so memory stays at the largest tensor; logits equal
transformers' and tokens equal the checkpoint's (`tests/quantize` proves both). Knows nothing of quantization.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from quantize.formats.checkpoint import Checkpoint, ModelShape
from quantize.formats.gguf_sentencepiece import UNKNOWN
from quantize.formats.gguf_vocab import GgufVocabulary, read_vocabulary
from runtime.base.files import need_space, new_file
from runtime.errors import ModelError

if TYPE_CHECKING:
    import torch

Precision = Literal["f16", "f32"]

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_TOP: Mapping[str, str] = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_PARTS: Mapping[str, str] = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_proj": "ffn_gate",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_INTERLEAVED = ("llama", "smollm3", "granite")
"""Architectures in which llama.cpp rotates neighbours, where transformers rotates halves."""


def write_gguf(
    checkpoint: Path, out: Path, *, precision: Precision = "f16", name: str = "edgedesk", licence: str = ""
) -> None:
    """Write `out` from a checkpoint folder.

    `name` and `licence` go into the file's metadata. Raises `ModelError` for what llama.cpp could not run as
    transformers does, `MissingError` and `InputError` for an incomplete folder, `SpaceError` before writing.
    """
    source = Checkpoint(checkpoint)
    vocabulary = read_vocabulary(source.tokenizer, source.shape.vocab, str(checkpoint / "tokenizer.json"))
    names = {hf: gguf_name(hf, source.shape) for hf in source.shapes()}
    plan = [(hf, shape, names[hf]) for hf, shape in sorted(source.shapes().items())]
    weight_bytes = 2 if precision == "f16" else 4
    need_space(out.parent, sum(math.prod(shape) for _, shape, _ in plan) * weight_bytes, f"the {precision} GGUF")
    with new_file(out) as partial:
        _write(source, vocabulary, partial, plan, precision, name, licence)


def gguf_name(hf: str, shape: ModelShape) -> str | None:
    """GGUF's name of a tensor; none for one that is not stored (a tied output layer); `ModelError` for a stranger."""
    if hf == "lm_head.weight" and shape.tied:
        return None
    if hf in _TOP:
        return _TOP[hf]
    if (match := _LAYER.fullmatch(hf)) and match[2] in _PARTS:
        return f"blk.{match[1]}.{_PARTS[match[2]]}.{match[3]}"
    raise ModelError(
        f"tensor '{hf}' has no place in a {shape.architecture} GGUF", hint="merge adapters and drop extra heads first"
    )


def rope_factors(shape: ModelShape) -> list[float] | None:
    """Llama 3's frequency factors, `head_dim / 2` of them, or none (as transformers' `llama3` rope type)."""
    scaling = shape.rope_scaling
    if scaling is None or scaling["rope_type"] != "llama3":
        return None
    factor, low, high = float(scaling["factor"]), float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    original = float(scaling["original_max_position_embeddings"])
    out = []
    for i in range(0, shape.head_dim, 2):
        wavelength = 2 * math.pi * shape.rope_theta ** (i / shape.head_dim)
        if wavelength < original / high:
            out.append(1.0)
        elif wavelength > original / low:
            out.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return out


def rotated_heads(hf: str, shape: ModelShape) -> int | None:
    """How many heads the rows of a tensor are to be reordered by for llama.cpp; None where they stay as they are."""
    rotated = {"q_proj": shape.heads, "k_proj": shape.kv_heads} if shape.architecture in _INTERLEAVED else {}
    return next((count for part, count in rotated.items() if f".{part}." in hf), None)


def permute_rows(weights: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of Llama's Q or K from transformers' half-split rotation to the interleaved one llama.cpp applies."""
    rest = weights.shape[1:]
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *rest)
    return halves.swapaxes(1, 2).reshape(weights.shape)


def _write(
    source: Checkpoint,
    vocabulary: GgufVocabulary,
    path: Path,
    plan: list[tuple[str, tuple[int, ...], str | None]],
    precision: Precision,
    name: str,
    licence: str,
) -> None:
    from gguf import GGUFWriter, LlamaFileType

    with closing(GGUFWriter(path, source.shape.architecture)) as writer:
        add_metadata(writer, source.shape, name=name, licence=licence)
        writer.add_file_type(LlamaFileType.MOSTLY_F16 if precision == "f16" else LlamaFileType.ALL_F32)
        _add_vocabulary(writer, source, vocabulary)
        matrix = np.dtype(np.float16 if precision == "f16" else np.float32)
        vector = np.dtype(np.float32)
        factors = rope_factors(source.shape)
        if factors is not None:
            writer.add_tensor_info("rope_freqs.weight", (len(factors),), vector, len(factors) * 4)
        for _, shape, stored in plan:
            if stored is not None:
                dtype = matrix if len(shape) > 1 else vector
                writer.add_tensor_info(stored, shape, dtype, math.prod(shape) * dtype.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(np.array(factors, dtype=vector))
        for (hf, _, stored), (read, weights) in zip(plan, source.tensors(), strict=True):
            assert hf == read
            if stored is None:
                continue
            heads = rotated_heads(hf, source.shape)
            values = (weights if heads is None else permute_rows(weights, heads)).float().numpy()
            with np.errstate(over="ignore"):
                values = values.astype(matrix if values.ndim > 1 else vector)
            if not np.isfinite(values).all():
                raise ModelError(f"'{hf}' has values that {precision} cannot hold", hint="train it again, or write f32")
            writer.write_tensor_data(np.ascontiguousarray(values))


def add_metadata(writer: Any, shape: ModelShape, *, name: str, licence: str = "") -> None:
    """What llama.cpp has to know of a decoder besides its tensors and its vocabulary."""
    from gguf import RopeScalingType

    writer.add_type("model")
    writer.add_name(name)
    if licence:
        writer.add_license(licence)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocab)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    if shape.head_dim * shape.heads != shape.hidden:
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
    if shape.multipliers is not None:
        writer.add_embedding_scale(shape.multipliers.embedding)
        writer.add_attention_scale(shape.multipliers.attention)
        writer.add_residual_scale(shape.multipliers.residual)
        writer.add_logit_scale(shape.multipliers.logits)
    if shape.rope_scaling is not None and shape.rope_scaling["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(shape.rope_scaling["factor"]))


def _add_vocabulary(writer: Any, source: Checkpoint, vocabulary: GgufVocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    if vocabulary.scores:
        writer.add_token_scores(list(vocabulary.scores))
        if UNKNOWN in vocabulary.types:
            writer.add_unk_token_id(vocabulary.types.index(UNKNOWN))
    else:
        writer.add_token_merges(list(vocabulary.merges))
    for role, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        if (index := source.special_id(role)) is not None:
            add(index)
    # The prompt's own pieces hold every control token, so nothing is to be added to a text.
    writer.add_add_bos_token(bool(source.tokenizer_config.get("add_bos_token", False)))
    writer.add_add_space_prefix(vocabulary.space_prefix)
    if template := source.chat_template:
        writer.add_chat_template(template)
