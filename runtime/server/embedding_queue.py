"""Computes embeddings for API clients one request at a time, in slices, beside the questions of the branch.

Promises: a request holds one thread of its own, never one of the pool that the other endpoints share; past the limit
requests are refused at once; a client that left costs at most the slice under way. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import UnavailableError
from runtime.server.http_errors import OversizedError

MAX_TOKENS = 300_000
"""Of one request, as with OpenAI."""
SLICE_TOKENS = 2048
"""Computed between two looks whether the client is still there: some half a second on two cores."""
MAX_WAITING = 16


class QueryEncoder(Protocol):
    """What is needed of `runtime.retrieval.embedder.Embedder`."""

    def queries(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """[texts, dim] unit vectors."""

    def count_tokens(self, texts: Sequence[str], /) -> int:
        """Tokens of all texts."""


class EmbeddingQueue:
    """One request after the other; to be used from one event loop."""

    def __init__(self, *, max_waiting: int = MAX_WAITING, max_tokens: int = MAX_TOKENS) -> None:
        self._max_waiting = max_waiting
        self._max_tokens = max_tokens
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embeddings")

    async def embed(self, encoder: QueryEncoder, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """Vectors and tokens of the texts; `UnavailableError` when too many wait, `OversizedError` for too many tokens.

        Cancelling the task gives the turn to the next request after the slice under way.
        """
        if self._waiting > self._max_waiting:
            raise UnavailableError(f"{self._waiting} embedding requests are waiting", hint="try again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._embed(encoder, texts)
        finally:
            self._waiting -= 1

    async def _embed(self, encoder: QueryEncoder, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        loop = asyncio.get_running_loop()
        counts = await loop.run_in_executor(self._thread, lambda: [encoder.count_tokens([text]) for text in texts])
        if sum(counts) > self._max_tokens:
            raise OversizedError(
                f"{sum(counts):,} tokens, {self._max_tokens:,} are allowed", hint="send the texts in parts"
            )
        parts = []
        for first, end in _slices(counts):
            parts.append(await loop.run_in_executor(self._thread, encoder.queries, texts[first:end]))
        return np.concatenate(parts), sum(counts)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _slices(counts: Sequence[int]) -> list[tuple[int, int]]:
    """(first, end) of neighbouring texts, each slice at most `SLICE_TOKENS` or one text."""
    slices: list[tuple[int, int]] = []
    size = 0
    for place, count in enumerate(counts):
        if slices and size + count <= SLICE_TOKENS:
            slices[-1] = (slices[-1][0], place + 1)
            size += count
        else:
            slices.append((place, place + 1))
            size = count
    return slices
