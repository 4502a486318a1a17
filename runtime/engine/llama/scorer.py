"""A GGUF file opened through llama.cpp's C API, for measuring: logits, decode speed.

One sequence, one thread at a time; answering is what `LlamaEngine` does.
Promises: nothing of llama.cpp reaches the terminal; its last words come back in the error when something fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.engine.llama.bindings import last_log, library
from runtime.engine.llama.vocab import LlamaVocabulary
from runtime.errors import MissingError, ModelError


class LlamaScorer:
    """A model file and a context of `context` tokens. Use it in a `with` block.

    `f32_cache` keeps keys and values in f32 without flash attention, to compare with transformers to the last digits.
    `step` is how many tokens llama.cpp computes at a time, for measuring; its default is the fastest.
    """

    def __init__(
        self, path: Path, *, context: int = 2048, threads: int = 2, f32_cache: bool = False, step: int | None = None
    ) -> None:
        if not path.is_file():
            raise MissingError("no such GGUF file", where=str(path), hint="build it first")
        self._api: Any = library()
        self._ctx: Any = None
        params = self._api.llama_model_default_params()
        self._model: Any = self._api.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise ModelError("llama.cpp cannot load it", where=str(path), hint=last_log())
        self.vocab = LlamaVocabulary(self._api.llama_model_get_vocab(self._model))
        self._ctx = self._open_context(context, threads, f32_cache, step)
        if not self._ctx:
            self.close()
            raise ModelError("llama.cpp cannot make a context", where=str(path), hint=last_log())

    def close(self) -> None:
        """Free the memory; the object cannot be used afterwards."""
        self.vocab.close()
        if self._ctx:
            self._api.llama_free(self._ctx)
            self._ctx = None
        if self._model:
            self._api.llama_model_free(self._model)
            self._model = None

    def __enter__(self) -> LlamaScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def logits(self, tokens: Sequence[int], start: int = 0) -> npt.NDArray[np.float32]:
        """Next-token logits after each of `tokens[start:]`, shape [len(tokens) - start, vocabulary], from empty."""
        self._api.llama_memory_clear(self._api.llama_get_memory(self._ctx), True)
        self._decode(tokens, 0, range(start, len(tokens)))
        return self._rows(start, len(tokens))

    def branches(
        self, prefix: Sequence[int], branches: Iterable[tuple[Sequence[int], int]]
    ) -> Iterator[npt.NDArray[np.float32]]:
        """For each (tokens, start) the logits after `tokens[start:]`, read after `prefix`, which is decoded once.

        No branch sees another. A model whose memory cannot be cut at its end reads the prefix again for each.
        """
        memory = self._api.llama_get_memory(self._ctx)
        self._api.llama_memory_clear(memory, True)
        self._decode(prefix, 0, ())
        for tokens, start in branches:
            if not self._api.llama_memory_seq_rm(memory, 0, len(prefix), -1):
                self._api.llama_memory_clear(memory, True)
                self._decode(prefix, 0, ())
            self._decode(tokens, len(prefix), range(start, len(tokens)))
            yield self._rows(start, len(tokens))

    def decode_rate(self, tokens: Sequence[int], count: int, *, threads: int | None = None) -> float:
        """Tokens a second when writing `count` tokens greedily after `tokens`, one at a time: median of the steps."""
        if threads is not None:
            self._api.llama_set_n_threads(self._ctx, threads, threads)
        token = int(np.argmax(self.logits(tokens, len(tokens) - 1)[0]))
        seconds = []
        for step in range(count):
            began = time.perf_counter()
            self._decode([token], len(tokens) + step, [0])
            token = int(np.argmax(self._row(0)))
            seconds.append(time.perf_counter() - began)
        return 1 / float(np.median(seconds))

    def _open_context(self, context: int, threads: int, f32_cache: bool, step: int | None) -> Any:
        params = self._api.llama_context_default_params()
        params.n_ctx = params.n_batch = context
        params.n_threads = params.n_threads_batch = threads
        if step is not None:
            params.n_ubatch = step
        params.no_perf = True
        if f32_cache:
            params.type_k = params.type_v = self._api.GGML_TYPE_F32
            params.flash_attn_type = self._api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return self._api.llama_init_from_model(self._model, params)

    def _rows(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """A copy of the logits of tokens `start` to `end` of the last batch."""
        out = np.empty((end - start, self.vocab.size), dtype=np.float32)
        for row in range(len(out)):
            out[row] = self._row(start + row)
        return out

    def _row(self, index: int) -> npt.NDArray[np.float32]:
        """The logits of one token of the last batch; valid until the next one."""
        return np.ctypeslib.as_array(self._api.llama_get_logits_ith(self._ctx, index), shape=(self.vocab.size,))

    def _decode(self, tokens: Sequence[int], position: int, wanted: Sequence[int]) -> None:
        batch = self._api.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i] = token, position + i
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                batch.logits[i] = 0
            for i in wanted:
                batch.logits[i] = 1
            if code := self._api.llama_decode(self._ctx, batch):
                raise ModelError(f"llama.cpp could not decode {len(tokens)} tokens (code {code})", hint=last_log())
        finally:
            self._api.llama_batch_free(batch)
