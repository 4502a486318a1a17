"""Writes a model of Llama 2 13B's shape with random weights as Q4_K_M: what has to teach on a machine without a GPU.

Quantized blocks are drawn as bytes, so no f16 file and no tensor of floats ever exists; one tensor at a time is in
memory. Types are those llama.cpp chooses for Q4_K_M. Memory and speed are a real model's; what it says is noise.
Cached: 7.9 GB of disk.

    python benchmarks/shape13b.py     prints the path
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.base.files import need_space, new_file
from runtime.base.user_cache import cache_folder

LAYERS, HIDDEN, FEED_FORWARD, HEADS, HEAD, VOCAB = 40, 5120, 13824, 40, 128, 32_000
"""Llama-2-13b's config.json; every head has keys and values of its own."""
CONTEXT = 4096
NAME = "shape13b-q4_k_m.gguf"
FILE_BYTES = 8_000_000_000
BLOCK = 256
"""Weights a block of either type holds."""
_SPREAD = 0.02
"""Standard deviation of the weights, about."""
_DRAWN = 1 << 15
"""Blocks drawn; tensors take them from one place after the other."""


def shape13b() -> Path:
    """The file, made when it is not there yet."""
    path = cache_folder() / "benchmarks" / NAME
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    need_space(path.parent, FILE_BYTES, "the 13B-shaped model")
    sys.stderr.write(f"writing random weights into {path}\n")
    with new_file(path) as partial:
        _write(partial)
    return path


def tensors() -> Iterator[tuple[str, tuple[int, ...], str]]:
    """(name, shape, type) of every tensor, as Q4_K_M has them."""
    yield "token_embd.weight", (VOCAB, HIDDEN), "Q4_K"
    yield "output_norm.weight", (HIDDEN,), "F32"
    yield "output.weight", (VOCAB, HIDDEN), "Q6_K"
    for layer in range(LAYERS):
        # The first and the last eighth of the layers, and every third between them, get more bits.
        eighth = LAYERS // 8
        finer = layer < eighth or layer >= 7 * eighth or (layer - eighth) % 3 == 2
        for name, shape, kind in (
            ("attn_norm", (HIDDEN,), "F32"),
            ("attn_q", (HEADS * HEAD, HIDDEN), "Q4_K"),
            ("attn_k", (HEADS * HEAD, HIDDEN), "Q4_K"),
            ("attn_v", (HEADS * HEAD, HIDDEN), "Q6_K" if finer else "Q4_K"),
            ("attn_output", (HIDDEN, HEADS * HEAD), "Q4_K"),
            ("ffn_norm", (HIDDEN,), "F32"),
            ("ffn_gate", (FEED_FORWARD, HIDDEN), "Q4_K"),
            ("ffn_up", (FEED_FORWARD, HIDDEN), "Q4_K"),
            ("ffn_down", (HIDDEN, FEED_FORWARD), "Q6_K" if finer else "Q4_K"),
        ):
            yield f"blk.{layer}.{name}.weight", shape, kind


def _write(path: Path) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

    drawn = {"Q4_K": _q4_k(), "Q6_K": _q6_k()}
    with closing(GGUFWriter(path, "llama")) as writer:
        writer.add_type("model")
        writer.add_name("shape13b, random weights")
        writer.add_block_count(LAYERS)
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(HIDDEN)
        writer.add_feed_forward_length(FEED_FORWARD)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(HEADS)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(VOCAB)
        writer.add_rope_dimension_count(HEAD)
        writer.add_file_type(LlamaFileType.MOSTLY_Q4_K_M)
        _add_vocabulary(writer)
        plan = list(tensors())
        for name, shape, kind in plan:
            if kind == "F32":
                writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * shape[0])
                continue
            blocks = drawn[kind]
            size = shape[0] * shape[1] // BLOCK * blocks.shape[1]
            row = (shape[0], shape[1] // BLOCK * blocks.shape[1])
            writer.add_tensor_info(name, row, np.dtype(np.uint8), size, raw_dtype=GGMLQuantizationType[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for place, (_, shape, kind) in enumerate(plan):
            if kind == "F32":
                writer.write_tensor_data(np.ones(shape, dtype=np.float32))
                continue
            blocks = drawn[kind]
            values = np.resize(np.roll(blocks, 997 * place, 0), (shape[0] * shape[1] // BLOCK, blocks.shape[1]))
            writer.write_tensor_data(values)


def _add_vocabulary(writer: Any) -> None:
    """32,000 tokens of the kinds SentencePiece has; nothing is ever cut into them here."""
    from gguf import TokenType

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
    words = [f"\u2581w{number}" for number in range(VOCAB - len(tokens))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*tokens, *words])
    writer.add_token_scores([-float(number) for number in range(VOCAB)])
    writer.add_token_types([*types, *[TokenType.NORMAL] * len(words)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _q4_k() -> NDArray[np.uint8]:
    """Blocks of d, dmin (f16), 12 bytes of scales, 128 of quants: weight = d·scale·q - dmin·min, q of 0 to 15."""
    blocks = np.random.default_rng(7).integers(0, 256, (_DRAWN, 144), dtype=np.uint8)
    d = _SPREAD / (36 * 4.6)  # root mean square of a scale, spread of a quant
    blocks[:, :4] = np.array([d, 7.5 * d], dtype=np.float16).view(np.uint8)
    return blocks


def _q6_k() -> NDArray[np.uint8]:
    """Blocks of 128 + 64 bytes of quants, 16 scales (int8), d (f16): weight = d·scale·(q - 32), q of 0 to 63."""
    blocks = np.random.default_rng(8).integers(0, 256, (_DRAWN, 210), dtype=np.uint8)
    d = _SPREAD / (74 * 18.5)
    blocks[:, 208:] = np.array([d], dtype=np.float16).view(np.uint8)
    return blocks


def main() -> None:
    """Make it and print where it lies."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(shape13b())


if __name__ == "__main__":
    main()
