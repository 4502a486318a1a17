"""How the next token is chosen from logits, in numpy, in the order of `runtime.engine.llama.sampler`.

    top-p -> temperature -> draw, or the likeliest

The same seed draws the same, but not the same as llama.cpp would.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.base.statistics import log_softmax
from runtime.engine.core.sampling_params import SamplingParams


class NumpySampler:
    """Chooses one answer's tokens."""

    def __init__(self, params: SamplingParams) -> None:
        self._params = params
        self._random = np.random.default_rng(params.seed)

    def next(self, logits: NDArray[np.float32]) -> int:
        """The token after a row of logits, float32 [vocabulary]."""
        scores, params = logits.astype(np.float64), self._params
        if params.temperature <= 0:
            return int(np.argmax(scores))
        order = np.argsort(-scores, kind="stable")
        if params.top_p < 1:
            reached = np.cumsum(np.exp(log_softmax(scores[order])))
            order = order[: int(np.searchsorted(reached, params.top_p)) + 1]
        return int(self._random.choice(order, p=np.exp(log_softmax(scores[order] / params.temperature))))
