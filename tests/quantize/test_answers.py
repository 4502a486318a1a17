"""Which layout a bundle reads its articles in: the one wanted, if answers keep what plain reading finds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quantize.answers import choose_layout
from runtime.answer_figures import Answered
from runtime.record import Question

EN = Question(id="1", lang="en", question="How long?", facts=(("30 days",),), evidence=("returns#one",))
ZH = Question(id="2", lang="zh", question="多久？", facts=(("30天",),), evidence=("returns#one",))


def answers(*facts: float) -> list[Answered]:
    return [Answered((EN, ZH)[n % 2], "", True, value, False, written_facts=value) for n, value in enumerate(facts)]


@pytest.mark.parametrize(
    ("composed", "exact", "kept", "used"),
    [
        pytest.param(answers(1, 0.97), answers(1, 1), 0.985, "parallel", id="keeps enough"),
        pytest.param(answers(1, 0.9), answers(1, 1), 0.95, "exact", id="loses too much"),
        pytest.param(answers(1, 1), answers(1, 0), 2.0, "parallel", id="finds more"),
        pytest.param(answers(1, 1), answers(0, 0), None, "exact", id="nothing to keep"),
        pytest.param((), None, None, "exact", id="not measured"),
    ],
)
def test_a_compiled_layout_is_used_where_it_keeps_the_facts(
    composed: Sequence[Answered], exact: Sequence[Answered] | None, kept: float | None, used: str
) -> None:
    found = choose_layout("parallel", composed, exact, 0.98)
    assert found == {"wanted": "parallel", "kept": kept, "used": used}
