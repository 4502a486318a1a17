"""States as llama.cpp gives them, made of numbers: keys turned by their positions, with means that stand out."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from runtime.engine.llama.rotary import Rotation
from runtime.engine.llama.sequence_state import split_state


@dataclass(frozen=True)
class Heads:
    """A model's keys and values."""

    layers: int
    heads: int
    head: int
    adjacent: bool

    @property
    def columns(self) -> int:
        return self.heads * self.head

    def rotation(self, base: float = 10_000.0) -> Rotation:
        exponents = -np.arange(0, self.head, 2) / self.head
        return Rotation(self.head, self.adjacent, tuple((base**exponents).tolist()))


LLAMA_3B = Heads(4, 8, 128, adjacent=True)
SMOLLM2 = Heads(3, 3, 64, adjacent=True)
QWEN2 = Heads(3, 2, 64, adjacent=False)


def make_state(shape: Heads, tokens: int, *, first: int = 64, mean: float = 8.0, seed: int = 0) -> np.ndarray:
    """An article's state; `mean`: how far the means of key channels are spread, the rest having a deviation of 1."""
    rng = np.random.default_rng(seed)
    positions = np.arange(first, first + tokens, dtype=np.int32)
    parts = [struct.pack("<IiII", 0xAF143CD8, 0, 1, tokens)]
    parts += [struct.pack("<iIi", position, 1, 0) for position in positions]
    parts.append(struct.pack("<II", 0, shape.layers))
    turns = shape.rotation().turns(positions)
    for number in range(2 * shape.layers):
        values = rng.normal(size=(tokens, shape.columns))
        if number < shape.layers:
            values += rng.normal(size=shape.columns) * mean
            heads = values.reshape(tokens, shape.heads, shape.head)
            half = shape.head // 2
            pairs = heads.reshape(tokens, shape.heads, half, 2) if shape.adjacent else None
            x, y = (pairs[..., 0], pairs[..., 1]) if pairs is not None else (heads[..., :half], heads[..., half:])
            turned = (x + 1j * y) * turns
            heads = (
                np.stack([turned.real, turned.imag], axis=-1)
                if shape.adjacent
                else np.concatenate([turned.real, turned.imag], axis=-1)
            )
            values = heads.reshape(tokens, shape.columns)
        parts += [struct.pack("<iQ", 1, 2 * shape.columns), values.astype(np.float16).tobytes()]
    return np.frombuffer(b"".join(parts), dtype=np.uint8).copy()


def differences(state: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Root mean squares by which keys and values of two states differ."""
    ours, theirs = (split_state(one).tensors for one in (state, other))
    squares = [np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2) for a, b in zip(ours, theirs, strict=True)]
    half = len(squares) // 2
    return float(np.sqrt(np.mean(squares[:half]))), float(np.sqrt(np.mean(squares[half:])))
