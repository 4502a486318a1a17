"""The codes inside GGUF blocks, as arrays: what a rounding may choose once a block's scales are chosen.

A weight is stored as a code; within a block it stands for `step * level(code) + base`, where step and base follow from
the block's scales. Both are read off the `gguf` library's own decoder, by decoding a block of lowest and one of highest
codes; so only the places of codes and of f16 factors are known here. Promises: writing back the codes that were read
gives the same bytes. Knows nothing of how codes are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
"""Shape [blocks, bytes of a block]."""
Codes = NDArray[np.uint8]
"""Shape [blocks, weights of a block], or [rows, columns]."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CodeLayout:
    """Where a type keeps its codes."""

    weights: int
    """Weights in a block."""
    size: int
    """Bytes of a block."""
    levels: tuple[int, ...]
    """What the codes 0, 1, … stand for, before the scale."""
    factors: tuple[int, ...]
    """Byte offsets of the f16 factors that scale the block: of the levels, then of what is added or taken off."""
    put: Callable[[Bytes, Codes], None]
    """(blocks, codes) writes the codes into the blocks."""


def _nibbles(codes: Codes, group: int) -> NDArray[np.uint8]:
    """Four low bits of each code: in every `2 * group` codes, byte i holds code i and code `group + i`."""
    low = (codes & np.uint8(15)).reshape(len(codes), -1, 2, group)
    joined: NDArray[np.uint8] = (low[:, :, 0] | low[:, :, 1] << np.uint8(4)).reshape(len(codes), -1)
    return joined


def _put_4(start: int, group: int) -> Callable[[Bytes, Codes], None]:
    def put(blocks: Bytes, codes: Codes) -> None:
        blocks[:, start:] = _nibbles(codes, group)

    return put


def _put_5_of_32(start: int) -> Callable[[Bytes, Codes], None]:
    def put(blocks: Bytes, codes: Codes) -> None:
        blocks[:, start : start + 4] = np.packbits(codes >> 4, axis=-1, bitorder="little")
        blocks[:, start + 4 :] = _nibbles(codes, 16)

    return put


def _put_q5_k(blocks: Bytes, codes: Codes) -> None:
    high = (codes >> 4).reshape(len(codes), 8, 32) << np.arange(8, dtype=np.uint8)[:, None]
    blocks[:, 16:48] = np.bitwise_or.reduce(high, axis=1)
    blocks[:, 48:] = _nibbles(codes, 32)


def _put_q6_k(blocks: Bytes, codes: Codes) -> None:
    blocks[:, :128] = _nibbles(codes, 64)
    high = (codes >> 4).reshape(len(codes), 2, 4, 32) << np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
    blocks[:, 128:192] = np.bitwise_or.reduce(high, axis=2).reshape(len(codes), 64)


def _range(bits: int, lowest: int = 0) -> tuple[int, ...]:
    return tuple(range(lowest, lowest + (1 << bits)))


_UNEVEN = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""ggml's `kvalues_iq4nl`."""

BLOCK_TYPES: Mapping[str, CodeLayout] = {
    "Q4_0": CodeLayout(32, 18, _range(4, -8), (0,), _put_4(2, 16)),
    "Q4_1": CodeLayout(32, 20, _range(4), (0, 2), _put_4(4, 16)),
    "Q5_0": CodeLayout(32, 22, _range(5, -16), (0,), _put_5_of_32(2)),
    "Q5_1": CodeLayout(32, 24, _range(5), (0, 2), _put_5_of_32(4)),
    "IQ4_NL": CodeLayout(32, 18, _UNEVEN, (0,), _put_4(2, 16)),
    "IQ4_XS": CodeLayout(256, 136, _UNEVEN, (0,), _put_4(8, 16)),
    "Q4_K": CodeLayout(256, 144, _range(4), (0, 2), _put_4(16, 32)),
    "Q5_K": CodeLayout(256, 176, _range(5), (0, 2), _put_q5_k),
    "Q6_K": CodeLayout(256, 210, _range(6, -32), (208,), _put_q6_k),
}
"""Types whose codes can be chosen anew, by ggml's name. Q8_0 is not among them: its rounding loses next to nothing."""


class BlockMatrix:
    """One matrix of a GGUF file, [rows, columns]: its codes and what they stand for."""

    def __init__(self, kind: str, data: NDArray[np.uint8], columns: int) -> None:
        """`kind` is a key of `BLOCK_TYPES`, `data` the file's bytes [rows, bytes of a row]; a copy is taken."""
        self.type = BLOCK_TYPES[kind]
        self.kind = kind
        self.shape = (data.shape[0], columns)
        self._blocks: Bytes = np.ascontiguousarray(data).reshape(-1, self.type.size).copy()
        self.levels: Floats = np.array(self.type.levels, dtype=np.float32)
        self._read_scales()

    def _read_scales(self) -> None:
        low, high = self._decode_constant(0), self._decode_constant(len(self.levels) - 1)
        self.step: Floats = (high - low) / (self.levels[-1] - self.levels[0])
        """[rows, columns]."""
        self.base: Floats = low - self.step * self.levels[0]
        """[rows, columns]."""

    def _decode_constant(self, code: int) -> Floats:
        blocks = self._blocks.copy()
        self.type.put(blocks, np.full((len(blocks), self.type.weights), code, dtype=np.uint8))
        return self._decode(blocks)

    def _decode(self, blocks: Bytes) -> Floats:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        out = dequantize(blocks.reshape(self.shape[0], -1), GGMLQuantizationType[self.kind])
        return np.ascontiguousarray(out, dtype=np.float32).reshape(self.shape)

    def values(self) -> Floats:
        """The weights as llama.cpp decodes them, [rows, columns]."""
        return self._decode(self._blocks)

    def codes(self) -> Codes:
        """The codes that are stored, [rows, columns]; 0 where a block's scale is 0."""
        nearest = (self.values() - self.base) / np.where(self.step == 0, 1, self.step)
        middle = (self.levels[1:] + self.levels[:-1]) / 2
        return np.searchsorted(middle, nearest).astype(np.uint8)

    def factors(self) -> Floats:
        """The f16 factors of every block, [rows, blocks of a row, 1 or 2]."""
        picked = [self._blocks[:, at : at + 2].copy().view(np.float16) for at in self.type.factors]
        return np.concatenate(picked, axis=1).astype(np.float32).reshape(self.shape[0], -1, len(picked))

    def store(self, codes: Codes, factors: Floats | None = None) -> None:
        """Put codes [rows, columns], and factors of the shape of `factors()` where they are given."""
        self.type.put(self._blocks, codes.reshape(-1, self.type.weights))
        if factors is not None:
            halves = factors.reshape(-1, len(self.type.factors)).astype(np.float16)
            for index, at in enumerate(self.type.factors):
                self._blocks[:, at : at + 2] = np.ascontiguousarray(halves[:, index : index + 1]).view(np.uint8)
            self._read_scales()

    def bytes(self) -> NDArray[np.uint8]:
        """The file's bytes, [rows, bytes of a row]."""
        return self._blocks.reshape(self.shape[0], -1)
