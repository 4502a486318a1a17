"""Rounds a matrix so that its outputs err least, not its weights: standard GGUF blocks with other codes in them.

Plain rounding takes the nearest code for each weight. Here each column's error is made good in the columns that are
still open (GPTQ, arXiv:2210.17323, over the scales that llama.cpp chose with its importance matrix); then the scales
are fitted by least squares to the codes, and the codes once more, one at a time, to all others (coordinate descent).
What falls is `|| X (W - Q)^T ||^2`, X being the matrix's inputs on the company's texts, of which `X^T X` is enough.

Promises: no row of the matrix ends with a larger error than it came with; the result is the same for the same inputs.
Knows nothing of models and files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantize.formats.gguf_blocks import BlockMatrix

if TYPE_CHECKING:
    import torch

_SHRINKAGE = 0.5
"""Of each diagonal entry, added to it. Thousands of tokens that repeat a few prompts leave most directions unseen, and
codes fitted to all that they say lose elsewhere (docs/log.md has the sweep)."""
_FLOOR = 1e-4
"""Of the mean of the diagonal, added to it, so that a column that no text takes can be inverted."""
_NOTHING = 1e-30
"""A mean below it is no input at all: all columns then count alike."""
_LAZY_COLUMNS = 64
"""Columns whose errors are collected before the rest of the matrix learns of them: one product instead of many."""
_SWEEPS = 2
"""Times that scales and codes are fitted to each other; a third moves the error by less than a percent."""


@dataclass(frozen=True)
class RoundingError:
    """`|| X (W - Q)^T ||^2` of one matrix, summed over its rows."""

    before: float
    after: float


class _Grid:
    """What the codes of a matrix stand for, in torch."""

    def __init__(self, blocks: BlockMatrix) -> None:
        import torch

        self.step, self.base = torch.from_numpy(blocks.step), torch.from_numpy(blocks.base)
        self._safe = torch.where(self.step == 0, torch.ones_like(self.step), self.step)
        self.levels = torch.from_numpy(blocks.levels)
        even = bool(np.all(np.diff(blocks.levels) == 1))
        self._middle = None if even else (self.levels[1:] + self.levels[:-1]) / 2

    def nearest(self, wanted: torch.Tensor, column: int) -> torch.Tensor:
        """Codes [rows] nearest to the wanted values of a column."""
        import torch

        place = (wanted - self.base[:, column]) / self._safe[:, column]
        if self._middle is not None:
            return torch.bucketize(place, self._middle)
        return (place - self.levels[0]).round_().clamp_(0, len(self.levels) - 1).long()

    def value(self, codes: torch.Tensor, column: int) -> torch.Tensor:
        """What the codes [rows] of a column stand for."""
        return self.step[:, column] * self.levels[codes] + self.base[:, column]


def shrunk(correlation: torch.Tensor) -> torch.Tensor:
    """`X^T X` drawn towards its own diagonal (Ledoit and Wolf's estimator with a fixed share), so that it generalises.

    Each column gets a share of its own entry. A share of the mean, as GPTQ adds, drowns all others where one token
    makes nearly all of the squares. The result is scaled to a diagonal of one in the mean, before what is added.
    """
    import torch

    scaled = correlation / correlation.diagonal().mean().clamp(min=_NOTHING)
    return scaled + torch.diag(_SHRINKAGE * scaled.diagonal() + _FLOOR)


def round_compensated(
    wanted: torch.Tensor, blocks: BlockMatrix, correlation: torch.Tensor, *, sweeps: int = _SWEEPS
) -> RoundingError:
    """Choose the codes and f16 factors of `blocks` anew, so that it computes what `wanted` [rows, columns] does.

    `correlation` is `X^T X` [columns, columns], `shrunk`, in f32. A row that does not gain keeps what it had.
    """
    import torch

    before_codes, before_factors = blocks.codes(), blocks.factors()
    before = _row_errors(wanted - torch.from_numpy(blocks.values()), correlation)
    codes = _compensate(wanted, _Grid(blocks), correlation)
    for _ in range(sweeps):
        blocks.store(codes.numpy().astype(np.uint8))
        blocks.store(codes.numpy().astype(np.uint8), _fit_factors(wanted, blocks, codes, correlation))
        codes = _descend(wanted, _Grid(blocks), codes, correlation)
    blocks.store(codes.numpy().astype(np.uint8))
    after = _row_errors(wanted - torch.from_numpy(blocks.values()), correlation)
    gained = (after < before).numpy()
    if not gained.all():
        per_row = gained[:, None]
        blocks.store(
            np.where(per_row, codes.numpy().astype(np.uint8), before_codes),
            np.where(per_row[..., None], blocks.factors(), before_factors),
        )
    return RoundingError(float(before.sum()), float(torch.minimum(before, after).sum()))


def _row_errors(error: torch.Tensor, correlation: torch.Tensor) -> torch.Tensor:
    return ((error @ correlation) * error).double().sum(dim=1)


def _compensate(wanted: torch.Tensor, grid: _Grid, correlation: torch.Tensor) -> torch.Tensor:
    """GPTQ's codes [rows, columns]: loud columns first, each error spread over the columns that follow."""
    import torch

    order = correlation.diagonal().argsort(descending=True, stable=True)
    inverse = torch.linalg.inv(correlation[order][:, order].double())
    upper = torch.linalg.cholesky((inverse + inverse.T) / 2, upper=True).float()
    rest = wanted[:, order].clone()
    codes = torch.empty(rest.shape, dtype=torch.long)
    for start in range(0, rest.shape[1], _LAZY_COLUMNS):
        stop = min(start + _LAZY_COLUMNS, rest.shape[1])
        block = rest[:, start:stop].T.contiguous()
        errors = torch.empty_like(block)
        for i in range(stop - start):
            column = int(order[start + i])
            chosen = grid.nearest(block[i], column)
            codes[:, column] = chosen
            errors[i] = (block[i] - grid.value(chosen, column)) / upper[start + i, start + i]
            block[i + 1 :] -= upper[start + i, start + i + 1 : stop, None] * errors[i]
        rest[:, stop:] -= errors.T @ upper[start:stop, stop:]
    return codes


def _descend(wanted: torch.Tensor, grid: _Grid, codes: torch.Tensor, correlation: torch.Tensor) -> torch.Tensor:
    """One sweep over the columns: each code the best one, all others standing."""
    import torch

    codes = codes.clone()
    values = grid.step * grid.levels[codes] + grid.base
    pull = ((wanted - values) @ correlation).T.contiguous()
    for start in range(0, values.shape[1], _LAZY_COLUMNS):
        stop = min(start + _LAZY_COLUMNS, values.shape[1])
        block, moves = pull[start:stop], torch.empty(stop - start, values.shape[0])
        for i in range(stop - start):
            column = start + i
            best = grid.nearest(values[:, column] + block[i] / correlation[column, column], column)
            moves[i] = grid.value(best, column) - values[:, column]
            codes[:, column] = best
            block -= correlation[start:stop, column, None] * moves[i]
        if stop < values.shape[1]:
            pull[stop:] -= correlation[stop:, start:stop] @ moves
    return codes


def _fit_factors(
    wanted: torch.Tensor, blocks: BlockMatrix, codes: torch.Tensor, correlation: torch.Tensor
) -> NDArray[np.float32]:
    """Least-squares f16 factors [rows, blocks, factors] for these codes; what f16 cannot hold stays as it was."""
    import torch

    grid, old = _Grid(blocks), torch.from_numpy(blocks.factors())
    rows, count, kinds = old.shape
    width = wanted.shape[1] // count
    # A type with one factor has nothing to add: its base is zero, or moves with the factor as the levels do.
    parts = [grid.step * grid.levels[codes] + (grid.base if kinds == 1 else 0), *([grid.base] if kinds == 2 else ())]
    safe = torch.where(old == 0, torch.ones_like(old), old)
    bases = [part.view(rows, count, width) / safe[..., k : k + 1] for k, part in enumerate(parts)]
    normal = torch.empty(rows, kinds * count, kinds * count)
    pulled = (wanted @ correlation).view(rows, count, width)
    right = torch.stack([(base * pulled).sum(-1) for base in bases], dim=1).view(rows, kinds * count)
    for k, base in enumerate(bases):
        for b in range(count):
            spread = (base[:, b] @ correlation[b * width : (b + 1) * width]).view(rows, count, width)
            for other, base_other in enumerate(bases):
                normal[:, k * count + b, other * count : (other + 1) * count] = (spread * base_other).sum(-1)
    diagonal = normal.diagonal(dim1=1, dim2=2)
    # Towards the old factors, so that a block that no text reaches keeps its own.
    ridge = 1e-4 * diagonal.mean(dim=1, keepdim=True) + 1e-30
    start = old.permute(0, 2, 1).reshape(rows, kinds * count)
    normal += torch.diag_embed(ridge.expand_as(diagonal))
    fitted = torch.linalg.solve(normal.double(), (right + ridge * start).double()).float()
    fitted = fitted.view(rows, kinds, count).permute(0, 2, 1)
    held = fitted.abs() < np.finfo(np.float16).max
    out: NDArray[np.float32] = torch.where(held & (old != 0), fitted, old).contiguous().numpy()
    return out
