"""Records the logits that an engine chose its tokens from: for tests and benchmarks that compare what engines compute.

    recorder = LogitsRecorder()
    with LlamaEngine(options, make_sampler=recorder) as engine:
        records = recorder.watch(params)
        text = "".join(piece.text for piece in engine.generate(tokens, params, cancel))

A watched request copies a row of logits a token; all others cost nothing. Knows nothing of prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.bindings import library
from runtime.engine.llama.sampler import LlamaSampler


@dataclass(frozen=True)
class TokenRecord:
    """A token that was chosen, the one that ends the answer included."""

    token: int
    logits: NDArray[np.float32]
    """The model's own, before any sampling setting, float32 [vocabulary]."""

    @property
    def logprobs(self) -> NDArray[np.float64]:
        """Natural log-probabilities, float64 [vocabulary]."""
        scores = self.logits.astype(np.float64) - self.logits.max()
        out: NDArray[np.float64] = scores - np.log(np.exp(scores).sum())
        return out

    @property
    def lead(self) -> float:
        """By how many nats the likeliest token is likelier than the next best."""
        second, first = np.partition(self.logits, -2)[-2:]
        return float(first - second)


class LogitsRecorder:
    """Makes an engine's samplers; those of watched requests record."""

    def __init__(self) -> None:
        self._watched: list[tuple[SamplingParams, list[TokenRecord]]] = []

    def watch(self, params: SamplingParams) -> list[TokenRecord]:
        """A list that fills with the tokens of the request that is made with this very object."""
        records: list[TokenRecord] = []
        self._watched.append((params, records))
        return records

    def __call__(self, params: SamplingParams) -> LlamaSampler:
        """A sampler for a request, as `LlamaEngine` asks for it."""
        records = next((records for watched, records in self._watched if watched is params), None)
        return LlamaSampler(params) if records is None else _RecordingSampler(params, records)


class _RecordingSampler(LlamaSampler):
    def __init__(self, params: SamplingParams, records: list[TokenRecord]) -> None:
        super().__init__(params)
        self._records = records

    def next(self, context: Any, row: int) -> int:
        """As `LlamaSampler.next`."""
        lib = library()
        size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(lib.llama_get_model(context)))
        logits = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, row), shape=(size,)).copy()
        token = super().next(context, row)
        self._records.append(TokenRecord(token, logits))
        return token
