"""How the next token is chosen: llama.cpp's sampler chain, one for each answer.

    top-p → temperature → draw, or the likeliest

Promises: the same seed draws the same.
"""

from __future__ import annotations

from typing import Any

from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.bindings import library


class LlamaSampler:
    """The chain of one answer."""

    def __init__(self, params: SamplingParams) -> None:
        self._lib = lib = library()
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if params.temperature <= 0:
            links = [lib.llama_sampler_init_greedy()]
        else:
            links = [lib.llama_sampler_init_top_p(params.top_p, 1)] if params.top_p < 1 else []
            links += [lib.llama_sampler_init_temp(params.temperature), lib.llama_sampler_init_dist(params.seed)]
        for link in links:
            lib.llama_sampler_chain_add(self._chain, link)

    def next(self, context: Any, row: int) -> int:
        """The next token, drawn from the logits of the batch's row of that number."""
        return int(self._lib.llama_sampler_sample(self._chain, context, row))

    def close(self) -> None:
        """Free the chain; safe to call twice."""
        chain, self._chain = self._chain, None
        if chain:
            self._lib.llama_sampler_free(chain)
