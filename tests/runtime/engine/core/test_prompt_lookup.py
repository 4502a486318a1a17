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
from runtime.engine.llama.model import LlamaModel

NEVER = threading.Event()


def text_of(engine: LlamaEngine, prompt: str, **params: object) -> str:
    tokens = engine.vocab.encode(prompt, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 10))
def test_a_guess_is_what_stood_behind_the_same_tokens_before(tokens: list[int], most: int) -> None:
    guesses = PromptLookup(tokens).guess(most, 0.0)
    assert len(guesses) <= min(most, MAX_GUESSES)
    if guesses:
        end = tokens[-NGRAM:]
        assert any(
            tokens[at : at + NGRAM] == end and tokens[at + NGRAM :][: len(guesses)] == guesses
            for at in range(len(tokens) - NGRAM)
        )


def test_guessing_stops_when_it_does_not_pay_and_goes_on_while_it_does() -> None:
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
def test_as_many_guesses_are_checked_as_write_the_most(share: float, cost: float, most: int) -> None:
    def rate(guesses: int) -> float:
        return sum(share**right for right in range(guesses + 1)) / (1 + cost * guesses)

    count = worth_guessing(share, cost, most)
    assert 0 <= count <= most
    assert all(rate(count) >= rate(other) for other in range(most + 1))
    assert worth_guessing(share, cost, 0) == 0


def test_sure_guesses_are_many_and_dear_ones_few() -> None:
    assert worth_guessing(0.99, 0.4, MAX_GUESSES) == MAX_GUESSES
    assert worth_guessing(0.8, 0.4, MAX_GUESSES) in (1, 2, 3)
    assert worth_guessing(0.3, 0.4, MAX_GUESSES) == 0


@pytest.mark.parametrize("params", [{}, {"temperature": 1.2, "seed": 3}])
def test_the_text_is_the_same_with_and_without(random_gguf: Path, params: dict[str, object]) -> None:
    article = "You can return most items within 30 days of delivery. 大多数商品可在30天内退货。"
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=1024, threads=1, slots=2, batch_tokens=64)) as engine:
        for prompt in (article * 3, article + article[:20], "aaaa bbbb aaaa bbbb aaaa"):
            texts = [text_of(engine, prompt, max_tokens=80, lookup=lookup, **params) for lookup in (True, False)]
            assert texts[0] == texts[1]


def test_an_answer_that_quotes_takes_fewer_steps(endless_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    decode = LlamaModel.decode
    monkeypatch.setattr(LlamaModel, "decode", lambda self, rows: (steps.append(len(rows)), decode(self, rows))[1])
    monkeypatch.setattr(
        "runtime.engine.core.batch_planner.StepCosts.guess_cost", 0.05
    )  # as on a model that waits for its memory
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=2048, threads=1, slots=1)) as engine:
        plain = text_of(engine, "?\n", max_tokens=400, lookup=False)
        without = len(steps)
        assert text_of(engine, "?\n", max_tokens=400) == plain
        assert len(steps) - without < without / 3  # it says the same again and again


def test_guesses_end_with_the_answer_wherever_that_is(endless_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=2048, threads=1, slots=1)) as engine:
        whole = text_of(engine, "?\n", max_tokens=300, lookup=False)
        for most in range(150, 170):
            found = engine.generate(engine.vocab.encode("?\n", control=False), SamplingParams(max_tokens=most), NEVER)
            text = "".join(piece.text for piece in found)
            assert found.stats.answer_tokens == most
            assert whole.startswith(text)
        stop = whole[100:104]
        assert text_of(engine, "?\n", max_tokens=300, stop_strings=(stop,)) == whole[: whole.index(stop)]
