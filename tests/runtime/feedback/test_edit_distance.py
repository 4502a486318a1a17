from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.feedback.edit_distance import MAX_CHARS, edit_distance

SHORT = st.text(alphabet="ab 退货", max_size=24)


def by_the_table(left: str, right: str) -> int:
    """Wagner and Fischer's table, row by row."""
    row = list(range(len(right) + 1))
    for number, one in enumerate(left, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(right, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (one != other))
    return row[-1]


@given(SHORT, SHORT)
def test_edit_distance_is_that_of_the_table(left: str, right: str) -> None:
    expected = by_the_table(left, right) / max(len(left), len(right), 1)
    assert edit_distance(left, right) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("draft", "reply", "distance"),
    [("", "", 0), ("30 days", "30 days", 0), ("30 days", "", 1), ("", "14天", 1), ("30天内退货", "14天内退货", 2 / 6)],
)
def test_edit_distance_of_draft_and_reply(draft: str, reply: str, distance: float) -> None:
    assert edit_distance(draft, reply) == pytest.approx(distance)


def test_edit_distance_of_long_texts_looks_at_their_beginning() -> None:
    assert edit_distance("a" * 10 * MAX_CHARS, "a" * 10 * MAX_CHARS + "b") == 0
