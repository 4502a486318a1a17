"""Duplicates: the first stays, what is dropped is as near as asked, and nothing near is missed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.cleaning.duplicates import (
    duplicate_step,
    exact_duplicates,
    near_duplicates,
    same_meaning,
    shingles,
    text_key,
)
from distill.data.steps import StepCounts, run_whole


def similarity(one: str, other: str) -> float:
    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my order?", "where is  my order"),
        ("退货怎么办？", "退货，怎么办"),
        ("Ｏｒｄｅｒ １２３", "order 123"),
        ("Café", "Cafe\u0301"),
    ],
)
def test_exact_duplicate_is_one_in_any_spelling(one: str, other: str) -> None:
    assert exact_duplicates([one, "something else", other]) == [None, None, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Hello, my washing machine has been leaking since yesterday evening, what can I do about it now?",
            "Hello, my washing machine has been leaking since yesterday evening, what can I do about it?",
        ),
        (
            "您好，我上个星期在你们店里买的洗衣机从昨天晚上开始漏水了，请问现在应该怎么处理才好呢？",
            "您好，我上个星期在你们店里买的洗衣机从昨天晚上开始漏水了，请问现在应该怎么处理呢？",
        ),
    ],
)
def test_near_duplicate_is_found_in_both_languages(one: str, other: str) -> None:
    assert near_duplicates([one, "A question about something else entirely", other]) == [None, None, 0]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_near_duplicates_equal_those_of_comparing_every_pair(rng: random.Random) -> None:
    words = [f"w{number}" for number in range(60)]
    base = [" ".join(rng.choices(words, k=14)) for _ in range(12)]
    texts = []
    for text in base * 3:
        parts = text.split()
        for _ in range(rng.randrange(3)):
            parts[rng.randrange(len(parts))] = rng.choice(words)
        texts.append(" ".join(parts))
    stays: list[int] = []
    expected: list[int | None] = []
    for place, text in enumerate(texts):
        twin = next((each for each in stays if similarity(text, texts[each]) >= 0.8), None)
        expected.append(twin)
        if twin is None:
            stays.append(place)
    assert near_duplicates(texts) == expected


def test_same_meaning_is_sought_within_a_group_alone() -> None:
    near = np.array([[1, 0], [0.999, 0.0447], [0, 1], [1, 0]], dtype=np.float32)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    assert same_meaning(near) == [None, 0, None, 0]
    assert same_meaning(near, ["a", "a", "a", "b"]) == [None, 0, None, None]


def test_twin_of_same_meaning_is_one_that_stays() -> None:
    """A chain of neighbours does not melt into one: the third is compared with what stays, not with what went."""
    angles = np.array([0.0, 0.2, 0.4])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert same_meaning(vectors, least=float(np.cos(0.21))) == [None, 0, None]


def test_duplicate_step_counts_what_goes_and_names_its_twin() -> None:
    step = duplicate_step("exact duplicates", exact_duplicates, "the same text again", lambda text: f"row {text[0]}")
    counts = StepCounts()
    kept, gone = run_whole(["a?", "b", "A"], [step], counts)
    assert list(kept) == ["a?", "b"]
    assert [(name, dropped.where, dropped.detail) for name, dropped in gone] == [
        ("exact duplicates", "row A", "of row a?"[:8])
    ]
    assert counts.dropped["exact duplicates"]["the same text again"] == 1


def test_text_key_of_nothing_but_signs_is_empty() -> None:
    assert text_key(" ?!。") == ""
    assert near_duplicates(["?", "!"]) == [None, 0]
