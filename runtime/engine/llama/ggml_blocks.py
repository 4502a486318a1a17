"""Numbers in ggml's blocks: fewer bits a number, written and read by llama.cpp's own kernels.

A block is a run of numbers with a scale of its own. Promises: what `quantize` wrote, `dequantize` reads, on any
processor and with any build of llama.cpp; no copy of an array is made in between. Knows nothing of keys and values.

Why not numpy: it turns f32 into f16 at 9 ns a number on a processor without AVX-512, ggml at 0.2.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine.llama.bindings import library

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class BlockType:
    """A way to store numbers; sizes and ids are those of ggml.h, which are part of the GGUF format."""

    id: int
    name: str
    """As ggml's functions have it."""
    values: int
    """Numbers a block."""
    bytes: int
    """Bytes a block."""

    def size(self, count: int) -> int:
        """Bytes that `count` numbers take; the last block is filled up."""
        return -(-count // self.values) * self.bytes


F16 = BlockType(1, "f16", 1, 2)
Q4_0 = BlockType(2, "q4_0", 32, 18)
Q8_0 = BlockType(8, "q8_0", 32, 34)
Q3_K = BlockType(11, "q3_K", 256, 110)
Q4_K = BlockType(12, "q4_K", 256, 144)
Q5_K = BlockType(13, "q5_K", 256, 176)
BLOCK_TYPES = {kind.id: kind for kind in (F16, Q4_0, Q8_0, Q3_K, Q4_K, Q5_K)}


def quantize(values: F32, kind: BlockType) -> U8:
    """All numbers of an array, row by row, as blocks."""
    flat = np.ascontiguousarray(values, dtype=np.float32).ravel()
    if missing := -flat.size % kind.values:
        flat = np.concatenate([flat, np.zeros(missing, dtype=np.float32)])
    out = np.empty(kind.size(flat.size), dtype=np.uint8)
    written = _kernels().quantize(kind.id, flat.ctypes.data, out.ctypes.data, 0, 1, flat.size, None)
    if written != out.nbytes:
        raise ValueError(f"ggml wrote {written:,} bytes of {kind.name}, not {out.nbytes:,}")
    return out


def dequantize(blocks: U8, kind: BlockType, out: F32) -> None:
    """Fill a contiguous array whose size is a whole number of blocks."""
    if blocks.nbytes != kind.size(out.size) or out.size % kind.values:
        raise ValueError(f"{blocks.nbytes:,} bytes of {kind.name} are not {out.size:,} numbers")
    _kernels().dequantize[kind.id](blocks.ctypes.data, out.ctypes.data, out.size)


def to_f16(values: F32, out: NDArray[np.float16]) -> None:
    """Round to the nearest f16; both arrays contiguous and of one size."""
    _kernels().to_f16(values.ctypes.data, out.ctypes.data, values.size)


def from_f16(values: NDArray[np.float16]) -> F32:
    """A contiguous copy as f32."""
    values = np.ascontiguousarray(values)
    out = np.empty(values.shape, dtype=np.float32)
    _kernels().from_f16(values.ctypes.data, out.ctypes.data, values.size)
    return out


@dataclass(frozen=True)
class _Kernels:
    quantize: Callable[..., int]
    dequantize: dict[int, Callable[..., None]]
    to_f16: Callable[..., None]
    from_f16: Callable[..., None]


@cache
def _kernels() -> _Kernels:
    """The functions of ggml, found through libllama's own handle, which reaches the libraries that it needs."""
    base = library()._lib
    pointer, count = ctypes.c_void_p, ctypes.c_int64

    def declare(function: Any, result: Any, *arguments: Any) -> Callable[..., Any]:
        function.argtypes, function.restype = arguments, result
        declared: Callable[..., Any] = function
        return declared

    def rows(name: str, *libraries: Any) -> Callable[..., None]:
        found = next(function for lib in libraries if (function := getattr(lib, name, None)) is not None)
        return declare(found, None, pointer, pointer, count)

    chunk = (ctypes.c_int, pointer, pointer, count, count, count, pointer)
    processor = _processor_library() or base
    fast = getattr(processor, "ggml_cpu_fp32_to_fp16", None)
    return _Kernels(
        quantize=declare(base.ggml_quantize_chunk, ctypes.c_size_t, *chunk),
        dequantize={
            kind.id: rows(f"dequantize_row_{kind.name}", base) for kind in BLOCK_TYPES.values() if kind is not F16
        },
        to_f16=declare(fast, None, pointer, pointer, count) if fast else rows("ggml_fp32_to_fp16_row", base),
        from_f16=rows("ggml_fp16_to_fp32_row", base),
    )


def _processor_library() -> Any:
    """The processor's code where it is a library of its own (`bindings.load_variant`); None where libllama needs it."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if "/libggml-cpu-" in line}
    # Loaded already: this returns its handle.
    return ctypes.CDLL(min(paths)) if paths else None
