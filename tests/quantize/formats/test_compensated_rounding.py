from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from quantize.formats.compensated_rounding import round_compensated, shrunk
from quantize.formats.gguf_blocks import BLOCK_TYPES, BlockMatrix
from tests.support.ggml import quantize_rows

COLUMNS = 256


def inputs(rows: int = 600) -> NDArray[np.float32]:
    """Inputs whose columns move together, a few of them loud, as a model's do."""
    generator = np.random.default_rng(1)
    hidden = generator.normal(size=(rows, 24))
    mixed = hidden @ generator.normal(size=(24, COLUMNS)) + 0.5 * generator.normal(size=(rows, COLUMNS))
    return (mixed * np.exp(generator.normal(size=COLUMNS))).astype(np.float32)


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_outputs_err_less_than_half_as_much_as_with_ggmls_rounding(kind: str) -> None:
    """The sum that is minimised is recomputed here from the inputs themselves."""
    import torch

    weights = np.random.default_rng(2).normal(0, 0.05, (24, COLUMNS)).astype(np.float32)
    texts = inputs()
    matrix = BlockMatrix(kind, quantize_rows(kind, weights), COLUMNS)
    plain = float(np.square(texts @ (weights - matrix.values()).T).sum())
    correlation = shrunk(torch.from_numpy(texts.T @ texts))
    told = round_compensated(torch.from_numpy(weights), matrix, correlation)
    assert float(np.square(texts @ (weights - matrix.values()).T).sum()) < 0.5 * plain
    assert told.after < 0.5 * told.before


def test_no_row_ends_worse_and_the_same_inputs_give_the_same_bytes() -> None:
    """Rows that the grid holds exactly cannot gain, and stay as they came."""
    import torch

    correlation = shrunk(torch.from_numpy(inputs().T @ inputs()))
    exact = BlockMatrix(
        "Q4_0",
        quantize_rows("Q4_0", np.random.default_rng(2).normal(0, 0.05, (8, COLUMNS)).astype(np.float32)),
        COLUMNS,
    )
    weights = exact.values()
    weights[4:] += np.random.default_rng(6).normal(0, 0.01, (4, COLUMNS)).astype(np.float32)
    made = []
    for _ in range(2):
        matrix = BlockMatrix("Q4_0", exact.bytes(), COLUMNS)
        round_compensated(torch.from_numpy(weights), matrix, correlation)
        made.append(matrix.bytes())
        assert np.array_equal(matrix.bytes()[:4], exact.bytes()[:4])
        assert not np.array_equal(matrix.bytes()[4:], exact.bytes()[4:])
    assert np.array_equal(made[0], made[1])


def test_columns_that_no_text_reaches_are_rounded_without_nan() -> None:
    import torch

    texts = inputs()
    texts[:, :64] = 0
    weights = np.random.default_rng(2).normal(0, 0.05, (8, COLUMNS)).astype(np.float32)
    matrix = BlockMatrix("Q4_K", quantize_rows("Q4_K", weights), COLUMNS)
    round_compensated(torch.from_numpy(weights), matrix, shrunk(torch.from_numpy(texts.T @ texts)))
    assert np.isfinite(matrix.values()).all()
    assert np.abs(matrix.values() - weights).max() < 0.2


def test_texts_that_say_nothing_leave_finite_weights() -> None:
    import torch

    weights = np.random.default_rng(2).normal(0, 0.05, (8, COLUMNS)).astype(np.float32)
    matrix = BlockMatrix("Q4_0", quantize_rows("Q4_0", weights), COLUMNS)
    round_compensated(torch.from_numpy(weights), matrix, shrunk(torch.zeros(COLUMNS, COLUMNS)))
    assert np.abs(matrix.values() - weights).max() < 0.05
