from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.base.statistics import log_softmax, wilson_interval, z_scores

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_z_scores_have_mean_nought_and_deviation_one_or_are_all_nought(values: list[float]) -> None:
    scores = z_scores(values)
    assert scores.mean() == pytest.approx(0, abs=1e-6)
    assert scores.std() == pytest.approx(1, abs=1e-6) or not scores.any()


def test_z_scores_of_nothing_are_none() -> None:
    assert z_scores([]).tolist() == []
    assert z_scores([3.0, 3.0]).tolist() == [0.0, 0.0]


@given(st.lists(NUMBERS, min_size=1, max_size=9))
def test_log_softmax_gives_probabilities_that_add_up(scores: list[float]) -> None:
    logs = log_softmax(np.array([scores, scores[::-1]], dtype=np.float64))
    assert np.exp(logs).sum(axis=-1) == pytest.approx([1.0, 1.0])


def test_wilson_interval_is_that_of_the_published_example() -> None:
    """Newcombe 1998, table I: 81 of 263, and 0 of 20."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
