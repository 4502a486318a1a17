"""Rotary positions taken off keys and put on again.

llama.cpp keeps a key turned by its position, pair by pair of its numbers (RoFormer, 2104.09864). Without the turn a
channel's mean is the same at every position, so it can be kept once instead of in every token.

Promises: `put_on` undoes `take_off`, whatever the frequencies; wrong ones only make keys harder to compress.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Turns = NDArray[np.complex64]
"""[token, 1, pair]: what each pair of a head is multiplied by, as a complex number."""


@dataclass(frozen=True)
class Rotation:
    """How a model turns its keys; the same in every layer and head."""

    head: int
    """Numbers a head, an even number."""
    adjacent: bool
    """Whether a pair is two neighbours (Llama); else a number of the first and one of the second half (NeoX, Qwen2)."""
    frequencies: tuple[float, ...]
    """Radians a position, of each pair. Where a head has more numbers, the rest are not turned."""

    def __post_init__(self) -> None:
        if self.head % 2 or not 0 < 2 * len(self.frequencies) <= self.head:
            raise ValueError(f"{len(self.frequencies)} pairs in a head of {self.head}")

    @property
    def turned(self) -> int:
        """Numbers of a head that are turned."""
        return 2 * len(self.frequencies)

    def turns(self, positions: NDArray[np.int32]) -> Turns:
        """From keys without positions to keys at these; its conjugate is the way back."""
        angles = positions[:, None] * np.asarray(self.frequencies)[None, :]
        out = np.ones((len(positions), 1, self.head // 2), dtype=np.complex64)
        out[:, 0, : len(self.frequencies)] = np.exp(1j * angles)
        return out

    def pairs(self, keys: F32) -> F32:
        """[token, column] with the two numbers of a pair beside each other; a copy, unless they are already."""
        if self.adjacent:
            return keys
        tokens, half = len(keys), self.turned // 2
        heads = keys.reshape(tokens, -1, self.head)
        out = heads.copy()
        out[:, :, 0 : self.turned : 2] = heads[:, :, :half]
        out[:, :, 1 : self.turned : 2] = heads[:, :, half : self.turned]
        return out.reshape(tokens, -1)

    def unpair(self, paired: NDArray[np.float16], out: NDArray[np.float16]) -> None:
        """[token, column]: `pairs` undone, into an array."""
        tokens, half = len(paired), self.turned // 2
        source, target = paired.reshape(tokens, -1, self.head), out.reshape(tokens, -1, self.head)
        target[:, :, :half] = source[:, :, 0 : self.turned : 2]
        target[:, :, half : self.turned] = source[:, :, 1 : self.turned : 2]
        target[:, :, self.turned :] = source[:, :, self.turned :]

    def take_off(self, keys: F32, positions: NDArray[np.int32]) -> F32:
        """Keys in pairs, as if all were at position 0."""
        paired = np.ascontiguousarray(self.pairs(keys))
        return turn(paired, self.turns(positions).conj(), self.head)


def turn(paired: F32, turns: Turns, head: int, out: F32 | None = None) -> F32:
    """Multiply each pair by its turn; `paired` [token, column] contiguous."""
    tokens = len(paired)
    source = paired.view(np.complex64).reshape(tokens, -1, head // 2)
    if out is None:
        out = np.empty_like(paired)
    np.multiply(source, turns, out=out.view(np.complex64).reshape(tokens, -1, head // 2))
    return out
