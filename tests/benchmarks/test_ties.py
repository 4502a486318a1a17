"""When two texts of one model count as the same."""

from __future__ import annotations

import sys

import pytest

from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from _ties import TIE_NATS, Alone

SURE, TORN = TIE_NATS + 3, TIE_NATS / 2
ALONE = Alone((("Items", SURE), (" can", TORN), (" be", SURE), (" 退", SURE), ("货。", SURE)))


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Items can be 退货。", "same"),
        ("Items may be 退货。", "tie"),
        ("Items", "tie"),
        ("Items can not", "wrong"),
        ("Items can be", "wrong"),
        ("Items can be 退换。", "wrong"),
        ("Items can be 退货。 More", "wrong"),
        ("Another's text", "wrong"),
        ("", "wrong"),
    ],
)
def test_a_text_may_leave_the_other_only_where_the_model_was_in_two_minds(text: str, verdict: str) -> None:
    assert ALONE.compare(text) == verdict
