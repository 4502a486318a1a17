"""The engine's work on strangers' text grows no faster than the text: a ratio of times within one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from runtime.engine.core.prompt_lookup import PromptLookup
from runtime.engine.core.stop_strings import StopStrings

SIZE, FACTOR = 5_000, 8
MAX_RATIO = 24.0
"""Of the times for 8n and n: 8 where the time is linear, 64 where it is quadratic. Noise stays below 3."""


def feed_stop_strings(text: str, stops: list[str], piece: int) -> None:
    watch = StopStrings(stops)
    for start in range(0, len(text), piece):
        watch.feed(text[start : start + piece])
    watch.rest()


def look_up(tokens: list[int]) -> None:
    lookup = PromptLookup(tokens)
    for token in tokens[: len(tokens) // 4]:
        lookup.add(token)
        lookup.guess(8, lambda guesses: 0.01 * guesses)
        lookup.record_check(0, wrong=True)


CASES: dict[str, Callable[[int], None]] = {
    "stop string whose beginning repeats": lambda n: feed_stop_strings("a" * n, ["a" * 63 + "b"], 1),
    "four stop strings, long pieces": lambda n: feed_stop_strings("ab" * (n // 2), ["ab" * 31 + "c"] * 4, 100),
    "a stop string in Chinese": lambda n: feed_stop_strings("退" * n, ["退" * 63 + "货"], 3),
    "a prompt of one token": lambda n: look_up([7] * n),
    "a prompt that never repeats": lambda n: look_up(list(range(n))),
}


@pytest.mark.parametrize("case", CASES)
def test_engine_text_work_grows_linearly_with_the_text(case: str) -> None:
    """Part of S9: neither a customer's words nor a caller's stop strings make a token cost more the longer the text."""

    def seconds(size: int) -> float:
        """The least of several runs, in this thread's own processor time: neighbours do not count."""
        best = float("inf")
        for _ in range(3):
            began = time.thread_time()
            CASES[case](size)
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(FACTOR * SIZE) / seconds(SIZE) < MAX_RATIO
