"""A model and its context: tokens in, the next token out. The thin shell around llama.cpp's C calls.

Promises: what a prompt shares with the one before is not computed again; a failed step leaves the memory empty rather
than wrong; C pointers are freed once. Not thread-safe: one thread at a time may call it. Knows nothing of text, queues
and clocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.engine.library import last_log, library
from runtime.engine.vocab import Vocab
from runtime.errors import MissingError, ModelError

GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True)
class SamplingParams:
    """How an answer is written; greedy unless a temperature is given."""

    max_tokens: int = 160
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: frozenset[int] = frozenset()
    """Tokens that end the answer besides those the model itself marks as ends; they are not part of it."""


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences share from the start."""
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


class Model:
    """A GGUF file with one context of at most `context_tokens` tokens (fewer if it was trained on fewer)."""

    def __init__(self, path: Path, *, context_tokens: int, threads: int, batch_tokens: int) -> None:
        _check_header(path)
        self.path = path
        self._lib = lib = library()
        self._model: Any = None
        self._context: Any = None
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise ModelError("llama.cpp cannot load it", where=str(path), hint=last_log())
        self.vocab = Vocab(lib.llama_model_get_vocab(self._model))
        if lib.llama_model_has_encoder(self._model) or not lib.llama_model_has_decoder(self._model):
            self.close()
            raise ModelError("not a model that writes text", where=str(path), hint="use a decoder-only model")
        self.context_tokens = min(context_tokens, int(lib.llama_model_n_ctx_train(self._model)))
        settings = lib.llama_context_default_params()
        settings.n_ctx = self.context_tokens
        settings.n_batch = settings.n_ubatch = min(batch_tokens, self.context_tokens)
        settings.n_threads = settings.n_threads_batch = threads
        settings.n_seq_max = 1
        settings.no_perf = True
        self.batch_tokens = int(settings.n_batch)
        self._context = lib.llama_init_from_model(self._model, settings)
        if not self._context:
            self.close()
            raise ModelError(
                f"no context of {self.context_tokens} tokens can be made", where=str(path), hint=last_log()
            )
        self._memory = lib.llama_get_memory(self._context)
        self._cached: list[int] = []

    def reuse(self, tokens: Sequence[int]) -> int:
        """Keep of the memory what these tokens begin with; returns how many need not be read again.

        The last token is always read again: its logits are needed.
        """
        keep = min(common_prefix(self._cached, tokens), len(tokens) - 1)
        # Models with a sliding window or a recurrent state cannot drop a tail; they start again from nothing.
        if keep < len(self._cached) and not self._lib.llama_memory_seq_rm(self._memory, 0, keep, -1):
            keep = 0
        if keep == 0:
            self._lib.llama_memory_clear(self._memory, False)
        del self._cached[keep:]
        return keep

    def read(self, tokens: Sequence[int]) -> Iterator[None]:
        """Read tokens behind what is cached, one batch a step, so that the caller may stop between batches."""
        for start in range(0, len(tokens), self.batch_tokens):
            self.step(tokens[start : start + self.batch_tokens])
            yield

    def step(self, tokens: Sequence[int]) -> None:
        """Read at most one batch of tokens; the last one's logits are then ready for `sample`."""
        buffer = (self._lib.llama_token * len(tokens))(*tokens)
        failed = self._lib.llama_decode(self._context, self._lib.llama_batch_get_one(buffer, len(tokens)))
        if failed:
            self._lib.llama_memory_clear(self._memory, False)
            self._cached.clear()
            raise ModelError(f"llama.cpp could not go on (code {failed})", where=str(self.path), hint=last_log())
        self._cached.extend(tokens)

    def sampler(self, params: SamplingParams) -> Sampler:
        """A sampler for one answer; close it afterwards."""
        return Sampler(self._lib, self._context, params)

    def close(self) -> None:
        """Free context and model; safe to call twice."""
        self.vocab.close()
        context, self._context = self._context, None
        model, self._model = self._model, None
        if context:
            self._lib.llama_free(context)
        if model:
            self._lib.llama_model_free(model)


class Sampler:
    """llama.cpp's sampler chain for one answer: top-p, temperature, seeded draw; or the likeliest token."""

    def __init__(self, lib: Any, context: Any, params: SamplingParams) -> None:
        self._lib = lib
        self._context = context
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if params.temperature > 0:
            links = [
                lib.llama_sampler_init_top_p(params.top_p, 1),
                lib.llama_sampler_init_temp(params.temperature),
                lib.llama_sampler_init_dist(params.seed),
            ]
        else:
            links = [lib.llama_sampler_init_greedy()]
        for link in links:
            lib.llama_sampler_chain_add(self._chain, link)

    def next(self) -> int:
        """The next token, drawn from the logits of the last token read."""
        return int(self._lib.llama_sampler_sample(self._chain, self._context, -1))

    def close(self) -> None:
        """Free the chain; safe to call twice."""
        chain, self._chain = self._chain, None
        if chain:
            self._lib.llama_sampler_free(chain)


def _check_header(path: Path) -> None:
    if not path.is_file():
        raise MissingError("no such model file", where=str(path), hint="install the bundle again")
    with path.open("rb") as file:
        magic = file.read(len(GGUF_MAGIC))
    if magic != GGUF_MAGIC:
        raise ModelError("not a GGUF file", where=str(path), hint="install the bundle again")
