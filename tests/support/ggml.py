"""ggml's own rounding of a matrix, called where the bindings leave it out."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantize.formats.gguf_blocks import BLOCK_TYPES


def quantize_rows(kind: str, weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The bytes [rows, bytes of a row] that ggml stores for weights [rows, columns]."""
    import llama_cpp
    from gguf import GGMLQuantizationType

    ggml = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    rows, columns = weights.shape
    out = np.zeros((rows, columns // BLOCK_TYPES[kind].weights * BLOCK_TYPES[kind].size), dtype=np.uint8)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk(
        ctypes.c_int(GGMLQuantizationType[kind].value),
        np.ascontiguousarray(weights).ctypes.data_as(ctypes.c_void_p),
        out.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_int64(0),
        ctypes.c_int64(rows),
        ctypes.c_int64(columns),
        None,
    )
    return out
