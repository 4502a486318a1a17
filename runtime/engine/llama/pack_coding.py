"""Keys and values in a quarter of their size, and back to what llama.cpp loads.

    f16   as llama.cpp gives them
    q5    keys and values in 5 bits: 35 % of f16, no loss that can be measured
    q4    keys in 4 bits, values in 3: 24.9 % of f16 for 270 tokens of a 3B model

Of keys the rotary positions are taken off first. Then most of a channel is its mean, which is kept once, and the rest
is small and kept in ggml's blocks (docs/decisions/027-stored-keys-and-values.md has the figures). Values have a mean
too. Keys get more bits, because an error in them moves all of a token's attention.

Promises: a coded state names its coding and holds all that expanding needs; expanding gives a state of the same cells,
positions and shapes; what cannot be coded is left as it is. Knows nothing of files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.options import ArticleCoding
from runtime.engine.llama.ggml_blocks import (
    BLOCK_TYPES,
    F16,
    Q3_K,
    Q4_0,
    Q4_K,
    Q5_K,
    Q8_0,
    BlockType,
    dequantize,
    from_f16,
    quantize,
    to_f16,
)
from runtime.engine.llama.rotary import Rotation, turn
from runtime.engine.llama.sequence_state import (
    SequenceState,
    empty_state,
    positions_of,
    prefix_bytes,
    split_state,
    state_bytes,
)

U8 = NDArray[np.uint8]

TYPES: dict[ArticleCoding, tuple[BlockType, BlockType]] = {"f16": (F16, F16), "q5": (Q5_K, Q5_K), "q4": (Q4_K, Q3_K)}
"""Of keys, of values. From the most exact to the smallest."""
MEANS = (Q8_0, Q4_0)
"""Of the channels of keys, of values. What rounding takes from a mean stays in every number of its channel: that is
little even where a mean is a hundred times the rest, as in Qwen2's keys.
"""
CODINGS: tuple[ArticleCoding, ...] = tuple(TYPES)

_MAGIC = b"EDGEKV1\0"
_HEAD = struct.Struct("<8sHBBIIII")
"""Magic, coding (place in `CODINGS`), whether pairs are adjacent, 0, numbers a head, pairs, cells, tensors."""
_TENSOR = np.dtype([("columns", "<u4"), ("type", "u1"), ("means", "u1"), ("turned", "u1"), ("unused", "u1")])
_CHUNK = 1 << 16
"""Numbers expanded together: as f32 they stay in a core's own cache from one pass to the next."""


def coding_of(payload: U8) -> ArticleCoding:
    """How the keys and values of a payload are stored."""
    if payload[: len(_MAGIC)].tobytes() != _MAGIC or payload.nbytes < _HEAD.size:
        return "f16"
    number = int(_HEAD.unpack_from(payload.data)[1])
    if number >= len(CODINGS):
        raise ValueError("a coding of another version")
    return CODINGS[number]


def at_least(coding: ArticleCoding, wanted: ArticleCoding) -> bool:
    """Whether what is stored in a coding is as exact as another would be, or more."""
    return CODINGS.index(coding) <= CODINGS.index(wanted)


def encode(state: U8, coding: ArticleCoding, rotation: Rotation | None) -> U8:
    """A state in a coding; the state itself where it is not one of f16 keys and values, or where f16 is wanted."""
    if coding == "f16":
        return state
    try:
        parts = split_state(state)
    except ValueError:
        return state
    positions = parts.positions
    table = np.zeros(len(parts.tensors), dtype=_TENSOR)
    data: list[U8] = []
    for number, tensor in enumerate(parts.tensors):
        is_key = number < len(parts.tensors) // 2
        which = 0 if is_key else 1
        coded = _encode(tensor, TYPES[coding][which], MEANS[which], rotation if is_key else None, positions)
        table[number] = (tensor.shape[1], coded.kind.id, MEANS[which].id, coded.turned, 0)
        data += coded.parts
    frequencies = np.asarray(rotation.frequencies if rotation else (), dtype="<f4")
    head = _HEAD.pack(
        _MAGIC,
        CODINGS.index(coding),
        rotation is not None and rotation.adjacent,
        0,
        rotation.head if rotation else 0,
        frequencies.size,
        len(positions),
        len(table),
    )
    start = [np.frombuffer(head, dtype=np.uint8), frequencies.view(np.uint8), table.view(np.uint8), parts.prefix]
    return np.concatenate([*start, *data])


def expand(payload: U8, threads: int = 1) -> U8:
    """The state that llama.cpp loads; a payload in f16 is returned as it is. `ValueError` for one that is no payload.

    `threads`: at most two are used; more would not be done sooner, since memory is what they wait for.
    """
    if coding_of(payload) == "f16":
        return payload
    head = _read_head(payload)
    state, parts = empty_state(head.prefix, [tensor.columns for tensor in head.tensors])
    turns = head.rotation.turns(parts.positions) if head.rotation else None
    jobs = list(_jobs(payload, head, parts))

    def work(share: list[_Job]) -> None:
        for job in share:
            rotation = head.rotation if job.stored.turned else None
            _expand(job, rotation, turns if rotation else None)

    if threads < 2:
        work(jobs)
    else:
        # Keys cost more than values: both threads get every second of each.
        with ThreadPoolExecutor(2, thread_name_prefix="expanding") as pool:
            list(pool.map(work, (jobs[::2], jobs[1::2])))
    return state


def expanded_bytes(payload: U8) -> int:
    """The size of what `expand` gives."""
    if coding_of(payload) == "f16":
        return payload.nbytes
    head = _read_head(payload)
    return state_bytes(len(positions_of(head.prefix)), [tensor.columns for tensor in head.tensors])


@dataclass(frozen=True)
class _Coded:
    kind: BlockType
    turned: bool
    parts: tuple[U8, ...]
    """Means (none in f16), blocks."""


@dataclass(frozen=True)
class _Stored:
    """A tensor as the payload's table has it."""

    columns: int
    kind: BlockType
    means_kind: BlockType
    turned: bool

    def size(self, cells: int) -> int:
        return self.means + self.kind.size(cells * self.columns)

    @property
    def means(self) -> int:
        """Bytes of the channels' means."""
        return 0 if self.kind is F16 else self.means_kind.size(self.columns)


@dataclass(frozen=True)
class _Head:
    rotation: Rotation | None
    tensors: tuple[_Stored, ...]
    prefix: U8
    data: int
    """Where the first tensor begins."""


@dataclass(frozen=True)
class _Job:
    stored: _Stored
    data: U8
    out: NDArray[np.float16]
    """[cell, column]"""


def _encode(
    tensor: NDArray[np.float16],
    kind: BlockType,
    means_kind: BlockType,
    rotation: Rotation | None,
    positions: NDArray[np.int32],
) -> _Coded:
    values, turned = from_f16(tensor), False
    if not np.isfinite(values).all():
        return _Coded(F16, False, (_bytes(tensor),))
    if rotation is not None and tensor.shape[1] % rotation.head == 0:
        plain = rotation.take_off(values, positions)
        # Else the model turns its keys otherwise than its header says, and nothing is gained.
        turned = bool(plain.var(axis=0).sum() < values.var(axis=0).sum())
        values = plain if turned else values
    means = quantize(values.mean(axis=0), means_kind)
    values -= _read_means(means, means_kind, values.shape[1])
    return _Coded(kind, turned, (means, quantize(values, kind)))


def _read_means(blocks: U8, kind: BlockType, columns: int) -> NDArray[np.float32]:
    out = np.empty(-(-columns // kind.values) * kind.values, dtype=np.float32)
    dequantize(blocks, kind, out)
    return out[:columns]


def _bytes(values: NDArray[np.float16]) -> U8:
    return np.ascontiguousarray(values).view(np.uint8).ravel()


def _read_head(payload: U8) -> _Head:
    try:
        _, _, adjacent, _, size, pairs, cells, tensors = _HEAD.unpack_from(payload.data)
        at = _HEAD.size
        frequencies = np.frombuffer(payload, "<f4", pairs, at)
        at += frequencies.nbytes
        table = np.frombuffer(payload, _TENSOR, tensors, at)
        at += table.nbytes
        stored = tuple(
            _Stored(
                int(row["columns"]), BLOCK_TYPES[int(row["type"])], BLOCK_TYPES[int(row["means"])], bool(row["turned"])
            )
            for row in table
        )
    except (struct.error, KeyError) as error:
        raise ValueError(f"not a payload: {error}") from None
    prefix = payload[at : at + prefix_bytes(cells)]
    if len(positions_of(prefix)) != cells or not cells:
        raise ValueError("not a payload: other cells than it says")
    at += prefix.nbytes
    rotation = Rotation(size, bool(adjacent), tuple(map(float, frequencies))) if pairs else None
    for tensor in stored:
        if tensor.means_kind.values == 1:
            raise ValueError("not a payload: means in no blocks")
        if tensor.turned and (rotation is None or tensor.columns % rotation.head):
            raise ValueError("not a payload: keys that cannot be turned")
    if at + sum(tensor.size(cells) for tensor in stored) != payload.nbytes:
        raise ValueError("not a payload: of another length")
    return _Head(rotation, stored, prefix, at)


def _jobs(payload: U8, head: _Head, parts: SequenceState) -> Iterator[_Job]:
    at, cells = head.data, len(parts.positions)
    for stored, out in zip(head.tensors, parts.tensors, strict=True):
        size = stored.size(cells)
        yield _Job(stored, payload[at : at + size], out)
        at += size


def _expand(job: _Job, rotation: Rotation | None, turns: NDArray[np.complex64] | None) -> None:
    """Expand one tensor, some rows at a time: each pass then finds the numbers in the cache."""
    kind, out = job.stored.kind, job.out
    if kind is F16:
        out[:] = job.data.view(np.float16).reshape(out.shape)
        return
    cells, columns = out.shape
    means = _read_means(job.data[: job.stored.means], job.stored.means_kind, columns)
    blocks = job.data[job.stored.means :]
    # Rows that are whole blocks; all of them where a block reaches over every row's end.
    whole = kind.values // gcd(kind.values, columns)
    rows = max(whole, _CHUNK // columns // whole * whole)
    numbers = np.empty(-(-rows * columns // kind.values) * kind.values, dtype=np.float32)
    paired = np.empty((rows, columns), dtype=np.float16) if rotation and not rotation.adjacent else None
    for first in range(0, cells, rows):
        count = min(rows, cells - first)
        used = -(-count * columns // kind.values) * kind.values
        begin = first * columns // kind.values * kind.bytes
        dequantize(blocks[begin : begin + kind.size(used)], kind, numbers[:used])
        chunk = numbers[: count * columns].reshape(count, columns)
        chunk += means
        if rotation is not None and turns is not None:
            turn(chunk, turns[first : first + count], rotation.head, out=chunk)
        target = out[first : first + count]
        if paired is None or rotation is None:
            to_f16(chunk, target)
        else:
            to_f16(chunk, paired[:count])
            rotation.unpair(paired[:count], target)
