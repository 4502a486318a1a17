from __future__ import annotations

import numpy as np
import pytest

from quantize.formats.gguf_blocks import BLOCK_TYPES, BlockMatrix
from tests.support.ggml import quantize_rows


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_codes_and_factors_that_are_written_back_give_the_same_bytes(kind: str) -> None:
    data = quantize_rows(kind, np.random.default_rng(3).normal(0, 0.05, (6, 512)).astype(np.float32))
    matrix = BlockMatrix(kind, data, 512)
    matrix.store(matrix.codes(), matrix.factors())
    assert np.array_equal(matrix.bytes(), data)


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_step_base_and_levels_say_what_every_code_stands_for(kind: str) -> None:
    """As the gguf library decodes it: one code moved at a time by all it can take."""
    data = quantize_rows(kind, np.random.default_rng(4).normal(0, 0.05, (2, 256)).astype(np.float32))
    matrix = BlockMatrix(kind, data, 256)
    codes = np.random.default_rng(5).integers(0, len(matrix.levels), (2, 256), dtype=np.uint8)
    matrix.store(codes)
    np.testing.assert_allclose(matrix.values(), matrix.step * matrix.levels[codes] + matrix.base, rtol=1e-4, atol=1e-6)
    assert np.array_equal(matrix.codes(), codes)


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_a_block_of_zeros_stays_one(kind: str) -> None:
    matrix = BlockMatrix(kind, quantize_rows(kind, np.zeros((1, 256), dtype=np.float32)), 256)
    matrix.store(matrix.codes(), matrix.factors())
    assert not matrix.values().any()
