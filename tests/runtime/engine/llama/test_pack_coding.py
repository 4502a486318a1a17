"""Coded keys and values: small, near to what they were, and never taken for what they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.core.options import ArticleCoding
from runtime.engine.llama.pack_coding import CODINGS, at_least, coding_of, encode, expand, expanded_bytes
from runtime.engine.llama.sequence_state import split_state
from tests.support.kv_states import LLAMA_3B, QWEN2, SMOLLM2, Heads, differences, make_state

SHAPES = [LLAMA_3B, SMOLLM2, QWEN2]
MOST = {"q5": (0.045, 0.045), "q4": (0.095, 0.18)}
"""Differences of keys and of values whose deviation about their means is 1; 0.036 and 0.036, 0.077 and 0.150 here."""


@pytest.mark.parametrize("shape", SHAPES, ids=["llama-3b", "smollm2", "qwen2"])
@pytest.mark.parametrize("coding", ["q5", "q4"])
@pytest.mark.parametrize("tokens", [1, 7, 90, 270])
def test_coded_state_expands_to_the_same_cells_with_small_differences(
    shape: Heads, coding: ArticleCoding, tokens: int
) -> None:
    state = make_state(shape, tokens)
    payload = encode(state, coding, shape.rotation())
    assert (coding_of(payload), expanded_bytes(payload)) == (coding, state.nbytes)
    back = expand(payload)
    assert back.nbytes == state.nbytes
    assert np.array_equal(split_state(back).prefix, split_state(state).prefix)
    for ours, theirs in zip(differences(state, back), MOST[coding], strict=True):
        assert ours < theirs
    assert np.array_equal(expand(payload, threads=2), back)


@pytest.mark.parametrize(("coding", "most"), [("q5", 0.36), ("q4", 0.25)])
def test_coded_article_of_a_3b_model_is_as_small_as_promised(coding: ArticleCoding, most: float) -> None:
    shape = replace(LLAMA_3B, layers=12)  # of 28: what comes once an article counts for more here
    state = make_state(shape, 270)
    assert encode(state, coding, shape.rotation()).nbytes <= most * state.nbytes


@pytest.mark.parametrize("shape", SHAPES, ids=["llama-3b", "smollm2", "qwen2"])
def test_keys_with_large_means_lose_no_more_than_others(shape: Heads) -> None:
    """Qwen2's keys have biases of a hundred times their deviation: turned by positions, they would drown the rest."""
    state = make_state(shape, 90, mean=100.0)
    keys, _ = differences(state, expand(encode(state, "q4", shape.rotation())))
    without, _ = differences(state, expand(encode(state, "q4", None)))
    assert keys < 0.2  # of which f16 itself takes 0.05
    assert without > 10 * keys


@pytest.mark.parametrize("shape", SHAPES, ids=["llama-3b", "smollm2", "qwen2"])
def test_wrong_frequencies_cost_exactness_and_nothing_else(shape: Heads) -> None:
    state = make_state(shape, 90)
    keys, values = differences(state, expand(encode(state, "q4", shape.rotation(base=500.0))))
    without, _ = differences(state, expand(encode(state, "q4", None)))
    assert keys <= without * 1.1
    assert values < MOST["q4"][1]


def test_state_that_is_not_f16_is_kept_as_it_is() -> None:
    state = make_state(SMOLLM2, 20)
    for place, value in ((0, 1), (8, 2), (12, 19), (20, 2)):
        other = state.copy()
        other[place] = value
        assert encode(other, "q4", SMOLLM2.rotation()) is other
        assert coding_of(other) == "f16"
        assert expand(other) is other
    assert encode(state, "f16", SMOLLM2.rotation()) is state
    assert encode(state[:-1], "q4", SMOLLM2.rotation()).nbytes == state.nbytes - 1


def test_numbers_that_are_not_finite_are_kept_as_they_are() -> None:
    state = make_state(SMOLLM2, 20)
    tensor = split_state(state).tensors[0]
    tensor[3, 5] = np.inf
    back = split_state(expand(encode(state, "q4", SMOLLM2.rotation()))).tensors
    assert np.array_equal(back[0], tensor)
    assert np.isfinite(back[1]).all()


@settings(max_examples=60)
@given(cut=st.integers(1, 4000), place=st.integers(0, 1200), bit=st.integers(0, 7))
def test_damaged_payload_is_refused_or_has_the_shape_it_says(cut: int, place: int, bit: int) -> None:
    """The checksum finds damage before; this is what stands behind it, since llama.cpp is given what comes out."""
    whole = encode(make_state(SMOLLM2, 20), "q4", SMOLLM2.rotation())
    with pytest.raises(ValueError):
        expand(whole[:-cut])
    flipped = whole.copy()
    flipped[place] ^= 1 << bit
    try:
        state = expand(flipped)
    except ValueError:
        return
    assert coding_of(flipped) == "f16" or state.nbytes == expanded_bytes(flipped)


def test_codings_are_ordered_from_the_most_exact_to_the_smallest() -> None:
    state = make_state(LLAMA_3B, 90)
    sizes = [encode(state, coding, LLAMA_3B.rotation()).nbytes for coding in CODINGS]
    assert sizes == sorted(sizes, reverse=True)
    assert at_least("f16", "q4")
    assert at_least("q5", "q5")
    assert not at_least("q4", "q5")
