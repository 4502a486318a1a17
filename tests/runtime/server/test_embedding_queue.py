from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError, UnavailableError
from runtime.server.embedding_queue import SLICE_TOKENS, EmbeddingQueue


class Encoder:
    """Counts a token for each character; waits in every slice until it is let on."""

    def __init__(self, *, waits: bool = False) -> None:
        self.slices: list[int] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        if not waits:
            self.go_on.set()

    def count_tokens(self, texts: Sequence[str]) -> int:
        return sum(map(len, texts))

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.entered.set()
        assert self.go_on.wait(60)
        self.slices.append(len(texts))
        return np.array([[len(text)] for text in texts], dtype=np.float32)


async def test_vectors_come_in_the_order_of_the_texts_however_they_are_sliced() -> None:
    encoder, queue = Encoder(), EmbeddingQueue()
    texts = ["x" * (1 + number % 700) for number in range(50)]
    vectors, tokens = await queue.embed(encoder, texts)
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert tokens == sum(map(len, texts))
    assert len(encoder.slices) > tokens / SLICE_TOKENS / 2
    queue.close()


async def test_more_tokens_than_allowed_are_refused_before_anything_is_computed() -> None:
    encoder, queue = Encoder(), EmbeddingQueue(max_tokens=10)
    with pytest.raises(InputError, match="11 tokens, 10 are allowed"):
        await queue.embed(encoder, ["x" * 11])
    assert encoder.slices == []
    queue.close()


async def test_client_that_left_costs_at_most_the_slice_under_way() -> None:
    encoder, queue = Encoder(waits=True), EmbeddingQueue()
    task = asyncio.create_task(queue.embed(encoder, ["x" * SLICE_TOKENS] * 20))
    await asyncio.to_thread(encoder.entered.wait, 60)
    task.cancel()
    encoder.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await queue.embed(encoder, ["next"])
    assert encoder.slices in ([1, 1], [1])
    queue.close()


async def test_requests_past_the_limit_are_refused_and_those_that_wait_are_answered() -> None:
    encoder, queue = Encoder(waits=True), EmbeddingQueue(max_waiting=1)
    accepted = [asyncio.create_task(queue.embed(encoder, ["x"])) for _ in range(2)]
    await asyncio.to_thread(encoder.entered.wait, 60)
    with pytest.raises(UnavailableError, match="2 embedding requests are waiting"):
        await queue.embed(encoder, ["one too many"])
    encoder.go_on.set()
    assert [tokens for _, tokens in await asyncio.gather(*accepted)] == [1, 1]
    queue.close()
