"""Balance: heads are capped, tails are raised, and what goes is the same whatever else is there."""

from __future__ import annotations

import pytest

from distill.data.enlarging.balance import balance_step, label_counts, lacking, target_counts


def test_temperature_draws_counts_together_between_floor_and_cap() -> None:
    counts = {"head": 1000, "middle": 100, "tail": 3}
    assert target_counts(counts) == counts
    assert target_counts(counts, cap=400, floor=20) == {"head": 400, "middle": 100, "tail": 20}
    warm = target_counts(counts, temperature=0.5)
    assert warm == {"head": 1000, "middle": 316, "tail": 55}
    assert target_counts(counts, temperature=0) == dict.fromkeys(counts, 1000)
    assert lacking(counts, warm) == {"middle": 216, "tail": 52}
    assert target_counts({}) == {}


@pytest.mark.parametrize(("cap", "floor", "temperature"), [(None, 0, 1.5), (None, 0, -0.1), (5, 10, 1.0), (0, 0, 1.0)])
def test_balance_out_of_range_is_refused(cap: int | None, floor: int, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"temperature|cap"):
        target_counts({"a": 3}, cap=cap, floor=floor, temperature=temperature)


def test_cap_drops_what_is_above_it_and_keeps_order_and_items_without_label() -> None:
    items = [(f"id{number}", "head") for number in range(30)] + [("t1", "tail"), ("n1", "")]
    step = balance_step(lambda item: item[1] or None, lambda item: item[0], cap=10)
    kept, gone = step.run(items)
    assert label_counts(kept, lambda item: item[1] or None) == {"head": 10, "tail": 1}
    assert list(kept) == [item for item in items if item in kept]
    assert kept[-1] == ("n1", "")
    assert {each.reason for each in gone} == {"more of one intent than the cap"}
    more, _ = step.run([*items, ("id99", "head")])
    assert len(set(kept) - set(more)) <= 1
