"""What each format of a checkpoint will take on disk and in memory, from its configuration alone.

A pure function of the shape: nothing is loaded or written. File sizes follow llama.cpp's rules for mixed types, block
sizes and fallbacks (`llama-quant.cpp`), so they come out within about two percent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

from quantize.formats.checkpoint import ModelShape
from quantize.formats.onnx_decoder import WAYS

_BLOCKS: Mapping[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "q8_0": (32, 34),
    "q5_0": (32, 22),
    "q5_1": (32, 24),
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "iq4_nl": (32, 18),
    "iq4_xs": (256, 136),
    "q4_k": (256, 144),
    "q5_k": (256, 176),
    "q6_k": (256, 210),
}
"""Type → weights in a block, bytes of a block (ggml)."""
_FALLBACK: Mapping[str, str] = {
    "q4_k": "q5_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
    "iq4_xs": "iq4_nl",
    **dict.fromkeys(("q5_0", "q5_1", "q8_0", "q4_0", "q4_1", "iq4_nl"), "f16"),
}
"""What llama.cpp takes instead where a row does not fill a block."""
_VOCABULARY_BYTES_PER_TOKEN = 36
"""Token text, type and merges in a GGUF; measured on SmolLM2's 49,152 tokens."""
_BATCH_TOKENS = 128
"""What the engine computes in one step (`runtime.engine`)."""
_ACTIVATIONS = 24
"""llama.cpp's compute buffers for each token of a batch, in vectors of the hidden size, besides the logits."""
_PROCESS_BYTES = 56_000_000
"""Python, numpy and llama.cpp themselves; measured."""


@dataclass(frozen=True)
class SizePrediction:
    """One format's needs, in bytes."""

    format: str
    file_bytes: int
    """On disk."""
    memory_bytes: int
    """In the engine's process: weights, f16 keys and values of one context, compute buffers, the process itself."""
    build_bytes: int
    """Memory at the peak of making it."""

    def as_dict(self) -> dict[str, int | str]:
        """For `--json`."""
        return asdict(self)


def predict_sizes(shape: ModelShape, context_tokens: int = 2048) -> list[SizePrediction]:
    """Plans for f16, every GGUF type that is written, and the 8-bit ONNX decoder.

    `context_tokens` is the context a server holds. Types are those that an importance matrix leads to.
    """
    weights = list(_weights(shape))
    total = sum(rows * columns for _, _, rows, columns in weights)
    largest = max(rows * columns for _, _, rows, columns in weights)
    extra = shape.vocab * _VOCABULARY_BYTES_PER_TOKEN
    buffers = _BATCH_TOKENS * 4 * (_ACTIVATIONS * shape.hidden + shape.vocab)
    running = context_tokens * shape.kv_bytes_per_token + buffers + _PROCESS_BYTES
    plans = []
    for name, choose in _FORMATS.items():
        size = extra + sum(_bytes(choose(part, layer, shape), rows, columns) for part, layer, rows, columns in weights)
        plans.append(SizePrediction(name, size, size + running, largest * (12 if name != "f16" else 10)))
    block = min(way.block for way in WAYS[8])
    matrices = sum(rows * columns for part, _, rows, columns in weights if part not in ("norm", "token_embd"))
    onnx = int(matrices * (1 + 5 / block)) + 4 * shape.vocab * shape.hidden
    plans.append(SizePrediction("onnx_int8", onnx, onnx + 2 * context_tokens * shape.kv_bytes_per_token, 12 * total))
    return plans


def embedding_bytes(shape: ModelShape, kind: str) -> int:
    """Bytes of the input embeddings in a format of `predict_sizes`; 0 where they are the output layer as well."""
    parts = [one for one in _weights(shape) if one[0] == "token_embd"]
    return sum(_bytes(_FORMATS[kind](part, layer, shape), rows, columns) for part, layer, rows, columns in parts)


def _weights(shape: ModelShape) -> Iterator[tuple[str, int, int, int]]:
    """(part, layer, rows, columns) of every tensor; norms and biases as few rows, a tied embedding as the output."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield "output", 0, shape.vocab, shape.hidden
    if not shape.tied:
        yield "token_embd", 0, shape.vocab, shape.hidden
    yield "norm", 0, 1, shape.hidden
    for layer in range(shape.layers):
        for part, rows, columns in matrices_of_layer(shape):
            yield part, layer, rows, columns
        yield "norm", layer, 2, shape.hidden
        if shape.architecture == "qwen2":
            yield "norm", layer, 1, queries + 2 * keys
        if shape.architecture == "qwen3":
            yield "norm", layer, 2, shape.head_dim


def matrices_of_layer(shape: ModelShape) -> Iterator[tuple[str, int, int]]:
    """(part, rows, columns) of a layer's matrices, by GGUF's names."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if shape.architecture == "phi3":
        yield "attn_qkv", queries + 2 * keys, shape.hidden
        yield "ffn_up", 2 * shape.feed_forward, shape.hidden
    else:
        yield "attn_q", queries, shape.hidden
        yield "attn_k", keys, shape.hidden
        yield "attn_v", keys, shape.hidden
        yield "ffn_gate", shape.feed_forward, shape.hidden
        yield "ffn_up", shape.feed_forward, shape.hidden
    yield "attn_output", shape.hidden, queries
    yield "ffn_down", shape.hidden, shape.feed_forward


def stored_type(kind: str, part: str, layer: int, shape: ModelShape, columns: int) -> str:
    """The type that format `kind` stores a matrix in: llama.cpp's choice, or what it falls back to."""
    return _fitting(_FORMATS[kind](part, layer, shape), columns)


Choice = Callable[[str, int, ModelShape], str]
"""(part, layer, shape) to the type that llama.cpp stores the tensor in (`llama_tensor_get_type`)."""


def _all_as(kind: str) -> Choice:
    return lambda _part, _layer, _shape: kind


def _outer(layer: int, layers: int) -> bool:
    """llama.cpp's `use_more_bits`: the first and last eighth, and every third layer between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


_VALUES = ("attn_v", "attn_qkv")
"""Matrices that make values, alone or with queries and keys: llama.cpp treats both alike."""


def _medium(kind: str) -> Choice:
    """Q4_K_M and Q5_K_M: six bits for values and ffn_down of the outer layers."""
    return _six_bit_output(
        lambda part, layer, shape: "q6_k" if part in (*_VALUES, "ffn_down") and _outer(layer, shape.layers) else kind
    )


def _q4_k_s(part: str, layer: int, shape: ModelShape) -> str:
    first = (part in _VALUES and layer < 4) or (part == "ffn_down" and layer < shape.layers // 8)
    return "q5_k" if first else "q4_k"


def _q4_0(part: str, layer: int, shape: ModelShape) -> str:
    return "q4_1" if part == "ffn_down" and layer < shape.layers // 8 else "q4_0"


def _iq4(kind: str) -> Choice:
    return _six_bit_output(
        lambda part, _layer, shape: "q5_k" if part in _VALUES and shape.heads >= 4 * shape.kv_heads else kind
    )


def _six_bit_output(choose: Choice) -> Choice:
    return lambda part, layer, shape: "q6_k" if part == "output" else choose(part, layer, shape)


_FORMATS: Mapping[str, Choice] = {
    "f16": _all_as("f16"),
    "q8_0": _all_as("q8_0"),
    "q6_k": _all_as("q6_k"),
    "q5_k_m": _medium("q5_k"),
    "q4_k_m": _medium("q4_k"),
    "q4_k_s": _six_bit_output(_q4_k_s),
    "q4_0": _six_bit_output(_q4_0),
    "iq4_nl": _iq4("iq4_nl"),
    "iq4_xs": _iq4("iq4_xs"),
}


def _bytes(kind: str, rows: int, columns: int) -> int:
    """Bytes of a tensor in a type, or in what llama.cpp falls back to; a norm or bias (few rows) stays f32."""
    if rows <= 2:
        kind = "f32"
    per_block, size = _BLOCKS[_fitting(kind, columns)]
    return rows * columns // per_block * size


def _fitting(kind: str, columns: int) -> str:
    """The type itself, or the first that llama.cpp falls back to whose blocks such rows fill."""
    while columns % _BLOCKS[kind][0]:
        kind = _FALLBACK[kind]
    return kind
