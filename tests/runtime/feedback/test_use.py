from __future__ import annotations

import pytest

from runtime.feedback.use import measure_use
from tests.support.feedback_rows import row


def test_use_counts_what_helped_and_what_did_not() -> None:
    use = measure_use(
        [
            row(1, verdict="accepted", rating=5),
            row(2, verdict="edited", reply="You have 31 days."),
            row(3, verdict="edited", reply="请到柜台办理。"),
            row(4, verdict="rejected", reply="You have a year.", rating=2),
            row(5, handoff="no_article"),
            row(6, state="failed"),
        ]
    )
    assert (use.turns, use.judged, use.accepted, use.edited, use.rejected) == (6, 4, 1, 2, 1)
    assert use.helped == 2, "a draft that was wholly rewritten helped nobody"
    assert (use.handed_off, use.failed, use.rating) == (1, 1, 3.5)
    assert use.rewritten == pytest.approx((0 + 1 / 17 + 1) / 3)
    assert use.helped_share == 0.5
    assert use.hand_off_rate == pytest.approx(1 / 6)


def test_use_of_nothing_has_no_shares() -> None:
    use = measure_use([])
    assert (use.helped_share, use.unchanged_share, use.hand_off_rate, use.rewritten) == (None, None, None, None)
