"""Writes a model of Llama 3.2 3B's shape with random weights as Q4_K_M: what a branch's machine has to carry.

Speed does not depend on what the weights say, only on their number, shape and type, so the figures are those of a real
3B model; the text is noise. Its vocabulary is SmolLM2's, filled up to 128,256 rows. Cached; the f16 file it is made
from (6.4 GB) is deleted again. Weights stream: a tensor at a time is in memory.

    python benchmarks/shape3b.py [--threads 2]     prints the path; needs 9 GB of disk, some minutes
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.models.catalogue import open_base
from quantize.formats.gguf_quantize import quantize_gguf
from quantize.formats.gguf_vocab import read_vocabulary
from runtime.base.files import need_space, new_file, read_text
from runtime.base.user_cache import cache_folder
from runtime.errors import MissingError


class Shape(NamedTuple):
    """Sizes of a Llama, as its config.json has them."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head: int
    vocab: int


LLAMA_3B = Shape(28, 3072, 8192, 24, 8, 128, 128_256)
"""Llama-3.2-3B's config.json; keys and values take 2 x 28 x 8 x 128 x 2 bytes = 112 KiB a token in f16."""
SAME_CACHE = LLAMA_3B._replace(hidden=128, feed_forward=128, heads=8, vocab=49_152)
"""Its keys and values, in a model that is read in no time."""
CONTEXT = 131_072
F16_BYTES = 6_500_000_000
NAME = "shape3b-q4_k_m.gguf"
_BLOCK = 1 << 22
"""Random numbers drawn; tensors take them from one place after the other."""


def shape3b(threads: int = 2) -> Path:
    """The file, made when it is not there yet."""
    path = cache_folder() / "benchmarks" / NAME
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    need_space(path.parent, F16_BYTES * 3 // 2, "the 3B-shaped model")
    f16 = path.with_name("shape3b-f16.gguf")
    try:
        if not f16.is_file():
            sys.stderr.write(f"writing random weights into {f16}\n")
            with new_file(f16) as partial:
                write_random(partial, LLAMA_3B)
        sys.stderr.write(f"quantizing into {path}\n")
        quantize_gguf(f16, path, "q4_k_m", threads=threads)
    finally:
        if path.is_file():
            f16.unlink(missing_ok=True)
    return path


def small_model() -> Path:
    """A file with the 3B's keys and values and little else, in f16 (30 MB); made when it is not there yet."""
    path = cache_folder() / "benchmarks" / "cache3b-f16.gguf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as partial:
            write_random(partial, SAME_CACHE)
    return path


def tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every tensor; the output layer is the embedding."""
    hidden = shape.hidden
    yield "token_embd.weight", (shape.vocab, hidden)
    yield "output_norm.weight", (hidden,)
    for layer in range(shape.layers):
        for name, size in (
            ("attn_norm", (hidden,)),
            ("attn_q", (shape.heads * shape.head, hidden)),
            ("attn_k", (shape.kv_heads * shape.head, hidden)),
            ("attn_v", (shape.kv_heads * shape.head, hidden)),
            ("attn_output", (hidden, shape.heads * shape.head)),
            ("ffn_norm", (hidden,)),
            ("ffn_gate", (shape.feed_forward, hidden)),
            ("ffn_up", (shape.feed_forward, hidden)),
            ("ffn_down", (hidden, shape.feed_forward)),
        ):
            yield f"blk.{layer}.{name}.weight", size


def write_random(path: Path, shape: Shape) -> None:
    """Write an f16 file of that shape."""
    from gguf import GGUFWriter, LlamaFileType

    base = open_base("smollm2-135m-instruct", lambda _text: None)
    tokenizer = base.checkpoint / "tokenizer.json"
    if not tokenizer.is_file():
        raise MissingError("no tokenizer.json", where=str(base.checkpoint), hint="edgedesk models fetch")
    raw = json.loads(read_text(tokenizer))
    vocabulary, base_rows = read_vocabulary(raw, shape.vocab), len(raw["model"]["vocab"])
    plan = list(tensors(shape))
    with closing(GGUFWriter(path, "llama")) as writer:
        writer.add_type("model")
        writer.add_name("shape3b, random weights")
        writer.add_block_count(shape.layers)
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(shape.hidden)
        writer.add_feed_forward_length(shape.feed_forward)
        writer.add_head_count(shape.heads)
        writer.add_head_count_kv(shape.kv_heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_key_length(shape.head)
        writer.add_value_length(shape.head)
        writer.add_vocab_size(shape.vocab)
        writer.add_rope_dimension_count(shape.head)
        writer.add_rope_freq_base(500_000.0)
        writer.add_file_type(LlamaFileType.MOSTLY_F16)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(vocabulary.pre)
        writer.add_token_list(list(vocabulary.tokens))
        writer.add_token_types(list(vocabulary.types))
        writer.add_token_merges(list(vocabulary.merges))
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(False)
        for name, size in plan:
            dtype = np.dtype(np.float16 if len(size) > 1 else np.float32)
            writer.add_tensor_info(name, size, dtype, int(np.prod(size)) * dtype.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        drawn = np.random.default_rng(7).normal(scale=0.02, size=_BLOCK).astype(np.float16)
        for place, (name, size) in enumerate(plan):
            values = _filled(drawn, size, place)
            if name == "token_embd.weight":
                # Rows without a text of their own are never the likeliest, so every token written can be seen.
                values[base_rows:] = 0
            writer.write_tensor_data(values)


def _filled(drawn: NDArray[np.float16], shape: tuple[int, ...], place: int) -> NDArray[np.generic]:
    """A tensor of the drawn numbers, begun at a place of its own; norms are ones."""
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    return np.resize(np.roll(drawn, 9973 * place), shape)


def main() -> None:
    """Make it and print where it lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="processor threads for quantizing")
    print(shape3b(parser.parse_args().threads))


if __name__ == "__main__":
    main()
