"""A few layers of a model that does not exist yet, in the types a format would give them, to time a machine with.

Speed depends on how many weights there are and how they are stored, not on what they say. So random bytes stand in for
codes; the f16 factors of blocks are set so that nothing is infinite. Promises: llama.cpp loads the file and computes
what it would for the real one. Knows nothing of clocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantize.formats.checkpoint import ModelShape
from quantize.formats.gguf_blocks import BLOCK_TYPES
from quantize.formats.gguf_writer import add_metadata
from quantize.measure.size_prediction import matrices_of_layer, stored_type
from runtime.base.files import new_file

_FACTOR = np.float16(2e-4)
"""Of random codes and scales: small enough that activations stay near one through any layer."""


def layer_types(shape: ModelShape, kind: str, layer: int) -> dict[str, str]:
    """Type of every matrix of a layer, by GGUF's name without block and ending."""
    return {part: stored_type(kind, part, layer, shape, columns) for part, _, columns in matrices_of_layer(shape)}


def write_trial(shape: ModelShape, layers: Sequence[Mapping[str, str]], out: Path, *, head: str, vocab: int) -> None:
    """Write `out` with one layer for each entry of `layers` (`layer_types`), and an embedding of `vocab` rows.

    The output layer is the embedding, stored as `head`.
    """
    from gguf import GGUFWriter

    small = replace(shape, layers=len(layers), vocab=vocab, tied=True, context=8192, rope_scaling=None)
    with new_file(out) as partial, closing(GGUFWriter(partial, shape.architecture)) as writer:
        add_metadata(writer, small, name="trial")
        writer.add_tokenizer_model("no_vocab")
        for name, data, kind in _tensors(small, layers, head):
            _add(writer, name, data, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def _add(writer: object, name: str, data: NDArray[np.generic], kind: str) -> None:
    from gguf import GGMLQuantizationType

    raw = GGMLQuantizationType[kind.upper()] if data.dtype == np.uint8 else None
    writer.add_tensor(name, data, raw_dtype=raw)  # type: ignore[attr-defined]


def _tensors(
    shape: ModelShape, layers: Sequence[Mapping[str, str]], head: str
) -> Iterator[tuple[str, NDArray[np.generic], str]]:
    yield "token_embd.weight", _random(shape.vocab, shape.hidden, head), head
    yield "output_norm.weight", np.ones(shape.hidden, dtype=np.float32), "f32"
    for index, types in enumerate(layers):
        block = f"blk.{index}."
        for part, length in _vectors(shape):
            yield f"{block}{part}", np.ones(length, dtype=np.float32), "f32"
        for part, rows, columns in matrices_of_layer(shape):
            yield f"{block}{part}.weight", _random(rows, columns, types[part]), types[part]


def _vectors(shape: ModelShape) -> Iterator[tuple[str, int]]:
    yield "attn_norm.weight", shape.hidden
    yield "ffn_norm.weight", shape.hidden
    if shape.architecture == "qwen2":
        yield "attn_q.bias", shape.heads * shape.head_dim
        yield "attn_k.bias", shape.kv_heads * shape.head_dim
        yield "attn_v.bias", shape.kv_heads * shape.head_dim
    if shape.architecture == "qwen3":
        yield "attn_q_norm.weight", shape.head_dim
        yield "attn_k_norm.weight", shape.head_dim


def _random(rows: int, columns: int, kind: str) -> NDArray[np.generic]:
    """A matrix of that type: its bytes [rows, bytes of a row], or f16 numbers [rows, columns]."""
    generator = np.random.default_rng(rows * columns)
    if kind == "f16":
        return (generator.standard_normal((rows, columns), dtype=np.float32) / math.sqrt(columns)).astype(np.float16)
    if kind == "q8_0":
        blocks = generator.integers(0, 256, (rows * columns // 32, 34), dtype=np.uint8)
        factors: tuple[int, ...] = (0,)
    else:
        block = BLOCK_TYPES[kind.upper()]
        blocks = generator.integers(0, 256, (rows * columns // block.weights, block.size), dtype=np.uint8)
        factors = block.factors
    for at in factors:
        blocks[:, at : at + 2] = np.full((len(blocks), 1), _FACTOR).view(np.uint8)
    return blocks.reshape(rows, -1)
