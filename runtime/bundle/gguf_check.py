"""A complete look at a GGUF's header before any C code opens the file.

llama.cpp ends its whole process (`abort`) on headers it did not expect, and it runs in processes that must live. So
everything that it indexes with, divides by or asserts is held here to what a language model's file can be: types of
entries, the vocabulary, the numbers a graph is built from, and every tensor's place in the file.

Promises: a refusal is a `ModelError` that names the entry. Counts and lengths are bounded where they are read
(`gguf_header_reader.py`). Knows nothing of weights: their values cannot make llama.cpp stop, only answer badly.

What is asserted: llama.cpp's `gguf.cpp`, `llama-model.cpp`, `llama-vocab.cpp` and the graphs of the architectures
below.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.bundle.gguf_header_reader import (
    ARRAY,
    BOOL,
    BYTE_TOKENS,
    F32,
    I32,
    MAX_ENTRIES,
    MAX_TENSORS,
    STRING,
    U32,
    GgufHeaderReader,
)
from runtime.errors import MissingError

MAX_LAYERS = 512
"""llama.cpp's LLAMA_MAX_LAYERS: it keeps arrays of that size."""
MAX_EXPERTS = 1024
MIN_TOKENS = 16
"""llama.cpp's own default token ids reach up to 11."""

_F32_TENSOR = 0
_TENSOR_TYPES = {
    0: (1, 4), 1: (1, 2), 30: (1, 2),  # F32, F16, BF16
    2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),  # Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),  # Q2_K … Q6_K
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),  # IQ2_XXS … IQ3_S
    22: (256, 82), 23: (256, 136), 29: (256, 56),  # IQ2_S, IQ4_XS, IQ1_M
    34: (256, 54), 35: (256, 66), 39: (32, 17),  # TQ1_0, TQ2_0, MXFP4
}  # fmt: skip
"""Types that weights are stored in: weights a block, bytes a block (ggml.h)."""

_TOKENIZERS = ("gpt2", "llama", "gemma4")
"""Byte-pair encoding and SentencePiece. Other kinds bring tables that llama.cpp walks without looking at bounds."""
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_SAME_HEADS = ("llama", "qwen2", "qwen3")
"""Architectures whose graphs assert that a key, a value and a rotation are equally wide."""
_BYTE_TYPE = 6
"""llama.cpp's LLAMA_TOKEN_TYPE_BYTE."""


@dataclass(frozen=True)
class GgufHeader:
    """What a header says, as far as others ask for it."""

    version: int
    architecture: str
    tokens: int
    layers: int
    tensors: tuple[str, ...]
    data_start: int
    """Where the first tensor lies, in bytes from the file's beginning."""
    vectors: Mapping[str, tuple[int, int]]
    """Of every tensor of one dimension, which is f32: its offset behind `data_start` in bytes, and its length."""


def check_gguf(path: Path) -> GgufHeader:
    """Read a model file's header whole; `MissingError` where there is none, `ModelError` for one that is not sound."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _Check(path, file, size).header()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise MissingError("the model file is not there", where=str(path), hint="install the bundle again") from None


class _Check(GgufHeaderReader):
    """The header of one file, held to what llama.cpp can open."""

    def header(self) -> GgufHeader:
        """The whole check, in the order of the file."""
        self.require(self.data[:4] == b"GGUF", "not a GGUF file")
        self.at = 4
        version = int(self.number("<I"))
        self.require(version in (2, 3), f"GGUF version {version:,}, known are 2 and 3")
        tensors = self.count(MAX_TENSORS, "tensors")
        entries = self.count(MAX_ENTRIES, "entries")
        self.require(tensors > 0, "0 tensors")
        for _ in range(entries):
            self.entry()
        self._check_kind()
        tokens = self._check_vocabulary()
        architecture, layers = self._check_numbers()
        names, start, vectors = self._check_tensors(tensors)
        return GgufHeader(version, architecture, tokens, layers, names, start, vectors)

    def _check_kind(self) -> None:
        kind = self.scalars.get("general.type", "model")
        self.require(kind == "model", f"a file of kind '{kind}', not a model")
        shards = self.scalars.get("split.count", 0)
        if isinstance(shards, int) and shards > 1:
            number = self.scalars.get("split.no", 0)
            self.refuse(
                f"shard {number if isinstance(number, int) else 0} of {shards} of a split model (counted from 0)",
                "join the shards first: llama-gguf-split --merge FIRST-SHARD ONE-FILE",
            )

    def _check_vocabulary(self) -> int:
        prefix = "tokenizer.ggml."
        model = self._word(f"{prefix}model", _TOKENIZERS)
        if f"{prefix}pre" in self.types:
            self._word(f"{prefix}pre")
        count = self.lengths.get(f"{prefix}tokens", 0)
        self._typed(f"{prefix}tokens", ARRAY * 100 + STRING)
        self.require(count >= MIN_TOKENS, f"a vocabulary of {count} tokens")
        self.require(np.unique(self.token_hashes).size == count, "two tokens are equal")
        for name, kinds in (("scores", (F32, I32)), ("token_type", (I32,))):
            key = f"{prefix}{name}"
            if key in self.types:
                self._typed(key, *(ARRAY * 100 + kind for kind in kinds))
                self.require(
                    self.lengths[key] == count, f"'{key}' has {self.lengths[key]:,} values for {count:,} tokens"
                )
        if f"{prefix}token_type" in self.arrays:
            types = self.arrays[f"{prefix}token_type"].astype(np.int64)
            self.require(bool(((types >= 0) & (types <= _BYTE_TYPE)).all()), "a token of an unknown type")
            self.require(
                not bool(((types == _BYTE_TYPE) & ~self.byte_like).any()),
                "a byte token that is not spelt <0x00> to <0xFF>",
            )
        if model == "llama":
            # What the pieces do not cover is written in bytes, and llama.cpp takes for granted that these exist.
            self.require(self.byte_tokens == BYTE_TOKENS, "a SentencePiece vocabulary without all 256 byte tokens")
        else:
            self._typed(f"{prefix}merges", ARRAY * 100 + STRING)
        for key, value in self.scalars.items():
            if key.startswith(prefix) and key.endswith("_token_id"):
                self._typed(key, U32)
                self.require(isinstance(value, int) and value < count, f"'{key}' is {value}, of {count:,} tokens")
        for key, values in self.arrays.items():
            if key.startswith(prefix) and "token" in key and key != f"{prefix}token_type" and values.dtype.kind in "iu":
                low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
                self.require(low >= 0 and high < count, f"'{key}' names a token that is not there")
        for key, kind in self.types.items():
            if key.startswith(f"{prefix}add_"):
                self.require(kind == BOOL, f"'{key}' is neither true nor false")
        return count

    def _check_numbers(self) -> tuple[str, int]:
        """The numbers a graph is built from; returns the architecture and the count of layers."""
        architecture = self._word("general.architecture")
        prefix = f"{architecture}."

        def whole(name: str, low: int, high: int, default: int | None = None) -> int:
            key = prefix + name
            if key not in self.types and default is not None:
                return default
            self._typed(key, U32)
            value = self.scalars[key]
            self.require(isinstance(value, int) and low <= value <= high, f"'{key}' is {value}")
            return int(value)

        layers = whole("block_count", 1, MAX_LAYERS)
        width = whole("embedding_length", 1, 1 << 20)
        whole("context_length", 1, 1 << 30)
        whole("nextn_predict_layers", 0, layers - 1, 0)
        whole("vocab_size", 1, 1 << 24, 1)
        whole("pooling_type", 0, 0, 0)
        heads = self._by_layer(f"{prefix}attention.head_count", layers, None)
        groups = self._by_layer(f"{prefix}attention.head_count_kv", layers, heads)
        self._by_layer(f"{prefix}feed_forward_length", layers, None, high=1 << 24)
        # Each key-value head serves a whole number of heads.
        self.require(bool((heads % groups == 0).all()), "heads are not a multiple of key-value heads")
        natural = width // int(heads[0])
        key_width = whole("attention.key_length", 1, 1 << 14, natural)
        value_width = whole("attention.value_length", 1, 1 << 14, key_width if natural == key_width else natural)
        turned = whole("rope.dimension_count", 0, 1 << 14, key_width)
        self.require(key_width > 0 and turned % 2 == 0, f"a head of {key_width} of which {turned} are rotated")
        if architecture in _SAME_HEADS:
            same = key_width == value_width == turned
            self.require(same, f"keys of {key_width}, values of {value_width}, rotations of {turned}")
        experts = whole("expert_count", 0, MAX_EXPERTS, 0)
        used = whole("expert_used_count", 0, MAX_EXPERTS, 0)
        self.require(used <= experts and (used > 0) == (experts > 0), f"{used} of {experts} experts at work")
        self.require(whole("expert_group_count", 0, 1, 0) <= experts, "more groups than experts")
        causal = self.scalars.get(f"{prefix}attention.causal", True)
        self.require(causal is True, "not a causal model, so it cannot write")
        if f"{prefix}rope.scaling.type" in self.types:
            self._word(f"{prefix}rope.scaling.type", _ROPE_SCALINGS)
        for key, value in self.scalars.items():
            if key.startswith(prefix) and ("epsilon" in key or key.endswith("freq_base")):
                self.require(isinstance(value, float) and value >= 0, f"'{key}' is {value}")
        return architecture, layers

    def _by_layer(
        self, key: str, layers: int, default: npt.NDArray[np.int64] | None, *, high: int = 1 << 14
    ) -> npt.NDArray[np.int64]:
        """A number of every layer, as llama.cpp reads it: one for all, or a list as long as there are layers."""
        if key not in self.types and default is not None:
            return default
        self._typed(key, U32, ARRAY * 100 + U32, ARRAY * 100 + I32)
        if key in self.scalars:
            found = np.full(layers, int(self.scalars[key]), dtype=np.int64)
        else:
            self.require(self.lengths[key] == layers, f"'{key}' has {self.lengths[key]} values for {layers} layers")
            found = self.arrays[key].astype(np.int64)
        self.require(bool(((found >= 1) & (found <= high)).all()), f"'{key}' is outside 1 to {high:,}")
        return found

    def _typed(self, key: str, *kinds: int) -> None:
        if key not in self.types:
            self.refuse(f"'{key}' is missing")
        self.require(self.types[key] in kinds, f"'{key}' has the wrong type")

    def _word(self, key: str, allowed: tuple[str, ...] = ()) -> str:
        self._typed(key, STRING)
        value = str(self.scalars[key])
        self.require(re.fullmatch(r"[A-Za-z0-9_.\-]{1,64}", value) is not None, f"'{key}' is {value[:64]!r}")
        self.require(not allowed or value in allowed, f"'{key}' is '{value}', known are {', '.join(allowed)}")
        return value

    def _check_tensors(self, count: int) -> tuple[tuple[str, ...], int, dict[str, tuple[int, int]]]:
        alignment = 32  # also the least: llama.cpp asserts that mapped tensors begin at multiples of it
        if "general.alignment" in self.types:
            self._typed("general.alignment", U32)
            alignment = int(self.scalars["general.alignment"])
            self.require(
                32 <= alignment <= 1 << 16 and alignment & (alignment - 1) == 0, f"an alignment of {alignment} bytes"
            )
        names: dict[str, None] = {}
        vectors: dict[str, tuple[int, int]] = {}
        expected = 0
        for _ in range(count):
            # ggml keeps names in 64 bytes with their end.
            name_bytes = self.text(63, "a tensor's name")
            self.require(
                re.fullmatch(rb"[A-Za-z0-9_.\-]+", name_bytes) is not None, f"a tensor is called {name_bytes!r}"
            )
            name = name_bytes.decode("ascii")
            self.require(name not in names, f"tensor '{name}' is there twice")
            names[name] = None
            dims = int(self.number("<I"))
            self.require(1 <= dims <= 4, f"tensor '{name}' has {dims} dimensions")
            shape = [int(self.number("<Q")) for _ in range(dims)]
            kind, offset = int(self.number("<I")), int(self.number("<Q"))
            if kind not in _TENSOR_TYPES:
                self.refuse(f"tensor '{name}' is stored in the unknown type {kind}")
            # Vectors are added and multiplied as they are, which ggml does for f32 alone.
            self.require(dims > 1 or kind == _F32_TENSOR, f"tensor '{name}' is a vector that is not f32")
            block, block_bytes = _TENSOR_TYPES[kind]
            self.require(all(1 <= one <= self.size for one in shape), f"tensor '{name}' has the shape {shape}")
            self.require(shape[0] % block == 0, f"tensor '{name}': rows of {shape[0]} in blocks of {block}")
            size = math.prod(shape) // block * block_bytes
            self.require(offset == expected, f"tensor '{name}' begins at {offset:,}, not at {expected:,}")
            self.require(offset + size <= self.size, f"tensor '{name}' ends behind the file's end")
            expected = -(-(offset + size) // alignment) * alignment
            last = offset + size
            if dims == 1:
                vectors[name] = (offset, shape[0])
        start = -(-self.at // alignment) * alignment
        self.require(start + last <= self.size, "the tensors end behind the file's end")
        return tuple(names), start, vectors
