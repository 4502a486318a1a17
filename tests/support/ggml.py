"""ggml's own rounding of a matrix in the types that compensated rounding knows."""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from quantize.formats.gguf_blocks import BLOCK_TYPES
from runtime.engine.llama.ggml_blocks import BlockType, quantize


def quantize_rows(kind: str, weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The bytes [rows, bytes of a row] that ggml stores for weights [rows, columns]."""
    layout = BLOCK_TYPES[kind]
    stored = BlockType(GGMLQuantizationType[kind].value, kind.lower(), layout.weights, layout.size)
    return quantize(weights, stored).reshape(len(weights), -1)
