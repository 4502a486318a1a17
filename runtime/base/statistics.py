"""Formulas that several rooms need, each once: standard scores, log-softmax, the interval of a rate. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FLAT = 1e-9
"""A standard deviation below it is rounding: the values are all alike."""
_Z_95 = 1.96


def z_scores(values: ArrayLike) -> NDArray[np.float64]:
    """Values [n] in standard deviations from their mean; zeros where they are all alike."""
    wide = np.asarray(values, dtype=np.float64)
    if not wide.size:
        return wide
    deviation = wide.std()
    return np.asarray((wide - wide.mean()) / deviation) if deviation > _FLAT else np.zeros_like(wide)


def log_softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Logarithms of the probabilities that scores [..., k] stand for, over the last axis, in the scores' precision."""
    # Less the largest, so that no exponential overflows.
    above = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(above - np.log(np.exp(above).sum(axis=-1, keepdims=True)))


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval (low, high) of a rate of `hits` in `trials` > 0 (Wilson 1927)."""
    share = hits / trials
    middle = (share + _Z_95**2 / (2 * trials)) / (1 + _Z_95**2 / trials)
    half = _Z_95 / (1 + _Z_95**2 / trials) * (share * (1 - share) / trials + _Z_95**2 / (4 * trials**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
