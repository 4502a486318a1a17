"""Prompt lookup: the same text in fewer steps, or no lookup."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.options import EngineOptions
from runtime.engine.core.prompt_lookup import MAX_GUESSES, NGRAM, PromptLookup, worth_guessing
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine

NEVER = threading.Event()


def text_of(engine: LlamaEngine, prompt: str, **params: object) -> str:
    tokens = engine.vocab.encode(prompt, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 10))
def test_prompt_lookup_guesses_what_followed_the_same_tokens(tokens: list[int], most: int) -> None:
    guesses = PromptLookup(tokens).guess(most, 0.0)
    assert len(guesses) <= min(most, MAX_GUESSES)
    if guesses:
        end = tokens[-NGRAM:]
        assert any(
            tokens[at : at + NGRAM] == end and tokens[at + NGRAM :][: len(guesses)] == guesses
            for at in range(len(tokens) - NGRAM)
        )


def test_prompt_lookup_stops_guessing_when_it_does_not_pay() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 1, 2, 3])
    assert lookup.guess(1, 0.5) == [4]
    assert lookup.guess(1, 0.9) == []
    for _ in range(4):
        lookup.record_check(0, wrong=True)
    assert lookup.guess(1, 0.5) == []
    for _ in range(8):
        lookup.record_check(3, wrong=False)
    assert lookup.guess(1, 0.9) == [4]


@given(st.floats(0, 1), st.floats(0, 2), st.integers(0, MAX_GUESSES))
def test_worth_guessing_maximises_tokens_a_second(share: float, cost: float, most: int) -> None:
    def rate(guesses: int) -> float:
        return sum(share**right for right in range(guesses + 1)) / (1 + cost * guesses)

    count = worth_guessing(share, cost, most)
    assert 0 <= count <= most
    assert all(rate(count) >= rate(other) for other in range(most + 1))
    assert worth_guessing(share, cost, 0) == 0


def test_worth_guessing_takes_many_sure_and_few_dear_guesses() -> None:
    assert worth_guessing(0.99, 0.4, MAX_GUESSES) == MAX_GUESSES
    assert worth_guessing(0.8, 0.4, MAX_GUESSES) in (1, 2, 3)
    assert worth_guessing(0.3, 0.4, MAX_GUESSES) == 0


@pytest.mark.parametrize("params", [{}, {"temperature": 1.2, "seed": 3}])
def test_prompt_lookup_does_not_change_the_text(random_gguf: Path, params: dict[str, object]) -> None:
    article = "You can return most items within 30 days of delivery. 大多数商品可在30天内退货。"
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=1024, threads=1, slots=2, batch_tokens=64)) as engine:
        for prompt in (article * 3, article + article[:20], "aaaa bbbb aaaa bbbb aaaa"):
            texts = [text_of(engine, prompt, max_tokens=80, lookup=lookup, **params) for lookup in (True, False)]
            assert texts[0] == texts[1]


def test_prompt_lookup_saves_steps_where_an_answer_quotes(endless_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=2048, threads=1, slots=1)) as engine:
        costs = engine.backend.costs
        plain = text_of(engine, "?\n", max_tokens=400, lookup=False)
        without = costs.steps
        # A guess costs next to nothing on a model that waits for its memory; what is learned later moves it little.
        costs.write_s, costs.guess_s = 1.0, 0.0
        assert text_of(engine, "?\n", max_tokens=400) == plain
        assert costs.steps - without < without / 2  # it says the same again and again


def test_prompt_lookup_ends_with_the_answer(endless_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=2048, threads=1, slots=1)) as engine:
        whole = text_of(engine, "?\n", max_tokens=300, lookup=False)
        for most in range(150, 170):
            found = engine.generate(engine.vocab.encode("?\n", control=False), SamplingParams(max_tokens=most), NEVER)
            text = "".join(piece.text for piece in found)
            assert found.stats.answer_tokens == most
            assert whole.startswith(text)
        stop = whole[100:104]
        assert text_of(engine, "?\n", max_tokens=300, stop_strings=(stop,)) == whole[: whole.index(stop)]
