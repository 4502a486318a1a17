"""How the next token is chosen from logits, in numpy: as llama.cpp's chain does (`runtime.engine.llama.sampler`).

    penalties -> min-p -> top-p -> temperature -> draw, or the likeliest

The same seed draws the same, but not the same as llama.cpp would. Grammars and schemas are refused.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.sampling_params import SamplingParams
from runtime.errors import InputError


class NumpySampler:
    """The choice of one answer's tokens."""

    def __init__(self, params: SamplingParams) -> None:
        """`InputError` for what this runtime cannot do."""
        if params.grammar or params.json_schema:
            raise InputError("grammars and schemas need llama.cpp", hint='set runtime = "llama"')
        self._params = params
        self._last: deque[int] = deque(maxlen=params.repeat_tokens)
        self._chance = np.random.default_rng(params.seed)

    def next(self, logits: NDArray[np.float32]) -> int:
        """The token behind a row of logits, [vocabulary]."""
        token = self._choose(self._penalized(logits))
        self._last.append(token)
        return token

    def close(self) -> None:
        """There is nothing to free."""

    def _penalized(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = logits.astype(np.float64)
        if self._params.repeat_penalty != 1.0 and self._last:
            seen = np.unique(np.fromiter(self._last, dtype=np.int64))
            penalty = self._params.repeat_penalty
            scores[seen] = np.where(scores[seen] > 0, scores[seen] / penalty, scores[seen] * penalty)
        return scores

    def _choose(self, scores: NDArray[np.float64]) -> int:
        params = self._params
        if params.temperature <= 0:
            return int(np.argmax(scores))
        order = np.argsort(-scores, kind="stable")
        if params.min_p > 0:
            order = order[scores[order] >= scores[order[0]] + np.log(params.min_p)]
        if params.top_p < 1:
            reached = np.cumsum(_softmax(scores[order]))
            order = order[: int(np.searchsorted(reached, params.top_p)) + 1]
        return int(self._chance.choice(order, p=_softmax(scores[order] / params.temperature)))


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(scores - scores.max())
    out: NDArray[np.float64] = weights / weights.sum()
    return out
