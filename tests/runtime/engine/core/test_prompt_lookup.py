"""Prompt lookup: the same text in fewer steps, or no lookup."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.batch_planner import StepCosts
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.prompt_lookup import MAX_GUESSES, NGRAM, GuessCost, PromptLookup, ReplyPool, worth_guessing
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine

NEVER = threading.Event()


def text_of(engine: LlamaEngine, prompt: str, **params: object) -> str:
    tokens = engine.vocab.encode(prompt, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


def by_the_guess(cost: float) -> GuessCost:
    return lambda guesses: cost * guesses


def make_guesses_free(costs: StepCosts) -> None:
    """As on a model that waits for its memory; what is learned later moves it little."""
    costs.write_s = 1.0
    for guesses in range(1, MAX_GUESSES + 1):
        costs.record_step(guesses=guesses, reading=0, seconds=1e-9)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 10))
def test_prompt_lookup_guesses_what_followed_the_same_tokens(tokens: list[int], most: int) -> None:
    guesses = PromptLookup(tokens).guess(most, by_the_guess(0.0))
    assert len(guesses) <= min(most, MAX_GUESSES)
    if guesses:
        end = tokens[-NGRAM:]
        assert any(
            tokens[at : at + NGRAM] == end and tokens[at + NGRAM :][: len(guesses)] == guesses
            for at in range(len(tokens) - NGRAM)
        )


def test_prompt_lookup_stops_guessing_when_it_does_not_pay() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 1, 2, 3])
    assert lookup.guess(1, by_the_guess(0.5)) == [4]
    assert lookup.guess(1, by_the_guess(0.9)) == []
    for _ in range(4):
        lookup.record_check(0, wrong=True)
    assert lookup.guess(1, by_the_guess(0.5)) == []
    for _ in range(8):
        lookup.record_check(3, wrong=False)
    assert lookup.guess(1, by_the_guess(0.9)) == [4]


@given(st.lists(st.lists(st.integers(0, 3), max_size=30), max_size=8), st.integers(0, 60))
def test_reply_pool_goes_on_as_a_kept_answer_did(replies: list[list[int]], most_tokens: int) -> None:
    pool = ReplyPool(most_tokens)
    for number, reply in enumerate(replies):
        pool.add(reply, str(number))
    kept = [reply for reply in replies if NGRAM < len(reply) <= most_tokens]
    for reply in replies:
        for end in range(NGRAM, len(reply)):
            ngram = tuple(reply[end - NGRAM : end])
            if found := pool.continuation(ngram, MAX_GUESSES):
                said = (*ngram, *found)
                assert any(tuple(one[at : at + len(said)]) == said for one in kept for at in range(len(one)))
    newest = kept[-1] if kept else []
    if newest:
        assert list(pool.continuation(tuple(newest[-NGRAM - 1 : -1]), 1)) == newest[-1:]
    for number in range(len(replies)):
        pool.forget(str(number))
    assert not any(pool.continuation(tuple(one[:NGRAM]), 1) for one in replies if len(one) >= NGRAM)


def test_reply_pool_keeps_an_answer_while_any_conversation_has_it() -> None:
    pool = ReplyPool()
    pool.add([1, 2, 3, 4, 5], "one")
    pool.add([1, 2, 3, 4, 5], "two")
    pool.forget("one")
    assert list(pool.continuation((1, 2, 3), 9)) == [4, 5]
    pool.forget("two")
    assert list(pool.continuation((1, 2, 3), 9)) == []


def test_prompt_lookup_asks_the_pool_where_the_prompt_says_nothing_and_learns_of_each_apart() -> None:
    pool = ReplyPool()
    pool.add([7, 8, 9, 10, 11], "one")
    lookup = PromptLookup([1, 2, 3, 4, 1, 2, 3], pool)
    assert lookup.guess(4, by_the_guess(0.1)) == [4, 1, 2, 3]
    for _ in range(20):
        lookup.record_check(0, wrong=True)
    assert lookup.guess(4, by_the_guess(0.5)) == []
    for token in (7, 8, 9):
        lookup.add(token)
    assert lookup.guess(4, by_the_guess(0.5)) == [10, 11]
    assert list(lookup.written) == [7, 8, 9]


@given(st.floats(0, 1), st.floats(0, 2), st.integers(0, MAX_GUESSES))
def test_worth_guessing_maximises_tokens_a_second(share: float, cost: float, most: int) -> None:
    def rate(guesses: int) -> float:
        return sum(share**right for right in range(guesses + 1)) / (1 + cost * guesses)

    count = worth_guessing(share, by_the_guess(cost), most)
    assert 0 <= count <= most
    assert all(rate(count) >= rate(other) for other in range(most + 1))
    assert worth_guessing(share, by_the_guess(cost), 0) == 0


def test_worth_guessing_takes_many_sure_and_few_dear_guesses() -> None:
    assert worth_guessing(0.99, by_the_guess(0.4), MAX_GUESSES) == MAX_GUESSES
    assert worth_guessing(0.8, by_the_guess(0.4), MAX_GUESSES) in (1, 2, 3)
    assert worth_guessing(0.3, by_the_guess(0.4), MAX_GUESSES) == 0


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
        make_guesses_free(costs)
        before = costs.steps
        assert text_of(engine, "?\n", max_tokens=400) == plain
        assert costs.steps - before < without / 2  # it says the same again and again


def test_step_costs_forget_a_guess_that_was_dear_once() -> None:
    """While a neighbour was busy one check took ten steps: without guesses nothing newer would ever be learned."""
    costs = StepCosts(128)
    costs.record_step(guesses=0, reading=0, seconds=1.0)
    costs.record_step(guesses=3, reading=0, seconds=11.0)
    lookup = PromptLookup([1, 2, 3, 4, 1, 2, 3])
    assert lookup.guess(3, costs.guess_cost) == []
    for _ in range(400):
        costs.record_step(guesses=0, reading=0, seconds=1.0)
    assert lookup.guess(3, costs.guess_cost) == [4, 1, 2]


def test_reply_pool_saves_steps_where_another_conversation_was_told_the_same(random_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=1024, threads=1, slots=1)) as engine:
        costs = engine.backend.costs

        def steps_of(conversation: str) -> tuple[str, int]:
            make_guesses_free(costs)
            before = costs.steps
            tokens = engine.vocab.encode("退货要多久？", control=False)
            found = engine.generate(tokens, SamplingParams(max_tokens=96), NEVER, conversation=conversation)
            return "".join(piece.text for piece in found), costs.steps - before

        first, second = steps_of("one"), steps_of("two")
        assert second[0] == first[0]
        assert second[1] < first[1] / 2
        engine.forget("one")
        engine.forget("two")
        assert steps_of("three") == first


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
