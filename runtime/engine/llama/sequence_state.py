"""The bytes in which llama.cpp gives a sequence's keys and values, taken apart and put together.

    u32 magic  i32 sequence  u32 streams = 1  u32 cells
    cells × (i32 position  u32 sequences = 1  i32 sequence)
    u32 values transposed = 0  u32 layers
    layers × (i32 type  u64 bytes a row  cells × row) of keys, then the same of values

As `llama_kv_cache::state_write` has it with flash attention, of version 0.3.36 of the bindings. Promises: a state that
is anything else is a `ValueError`, and then it is kept as it is. Knows nothing of how numbers are stored elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.engine.llama.ggml_blocks import F16

_MAGIC = 0xAF143CD8
_HEAD = struct.Struct("<IiII")
_CELL = np.dtype([("position", "<i4"), ("sequences", "<u4"), ("sequence", "<i4")])
_LAYERS = struct.Struct("<II")
_TENSOR = struct.Struct("<iQ")


@dataclass(frozen=True)
class SequenceState:
    """A state in parts."""

    prefix: NDArray[np.uint8]
    """Everything before the first tensor."""
    tensors: tuple[NDArray[np.float16], ...]
    """[cell, column] of each layer's keys, then of each layer's values; views into the state."""

    @property
    def positions(self) -> NDArray[np.int32]:
        """Of each cell."""
        return positions_of(self.prefix)


def split_state(state: NDArray[np.uint8]) -> SequenceState:
    """Take a state of f16 keys and values apart; `ValueError` for any other."""
    try:
        magic, _, streams, cells = _HEAD.unpack_from(state.data)
        if (magic, streams) != (_MAGIC, 1) or not cells:
            raise ValueError("not the state of one sequence")
        at = _HEAD.size + cells * _CELL.itemsize
        transposed, layers = _LAYERS.unpack_from(state.data, at)
        if transposed or (np.frombuffer(state, _CELL, cells, _HEAD.size)["sequences"] != 1).any():
            raise ValueError("its cells are not those of one sequence, one row each")
        at += _LAYERS.size
        prefix, tensors = state[:at], []
        for _ in range(2 * layers):
            kind, row = _TENSOR.unpack_from(state.data, at)
            at += _TENSOR.size
            end = at + cells * row
            if kind != F16.id or row % 2 or end > state.nbytes:
                raise ValueError("not keys and values in f16")
            tensors.append(state[at:end].view(np.float16).reshape(cells, row // 2))
            at = end
    except struct.error:
        raise ValueError("the state ends too soon") from None
    if at != state.nbytes or not tensors:
        raise ValueError("the state is longer than its tensors")
    return SequenceState(prefix, tuple(tensors))


def positions_of(prefix: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The position of each cell, from what precedes the tensors."""
    cells = _HEAD.unpack_from(prefix.data)[3]
    if prefix.nbytes != prefix_bytes(cells):
        raise ValueError("a prefix of another length")
    return np.frombuffer(prefix, _CELL, cells, _HEAD.size)["position"].copy()


def prefix_bytes(cells: int) -> int:
    """Length of what precedes the tensors."""
    return _HEAD.size + cells * _CELL.itemsize + _LAYERS.size


def state_bytes(cells: int, columns: Sequence[int]) -> int:
    """Length of a state whose tensors have so many columns."""
    return prefix_bytes(cells) + sum(_TENSOR.size + 2 * cells * width for width in columns)


def empty_state(prefix: NDArray[np.uint8], columns: Sequence[int]) -> tuple[NDArray[np.uint8], SequenceState]:
    """A state with tensors still to be filled in: (its bytes, views into them)."""
    cells = len(positions_of(prefix))
    state = np.empty(state_bytes(cells, columns), dtype=np.uint8)
    state[: prefix.nbytes] = prefix
    at, tensors = prefix.nbytes, []
    for width in columns:
        _TENSOR.pack_into(state.data, at, F16.id, 2 * width)
        at += _TENSOR.size
        tensors.append(state[at : at + 2 * cells * width].view(np.float16).reshape(cells, width))
        at += 2 * cells * width
    return state, SequenceState(state[: prefix.nbytes], tuple(tensors))
