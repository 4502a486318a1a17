"""Which layout a bundle reads its articles in: the one wanted, if answers keep what plain reading finds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quantize.measure.answer_quality import choose_layout
from runtime.evaluation.answer_metrics import Answered
from runtime.text.records import Question

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
        pytest.param((), (), None, "exact", id="not measured"),
    ],
)
def test_a_compiled_layout_is_used_where_it_keeps_the_facts(
    composed: Sequence[Answered], exact: Sequence[Answered], kept: float | None, used: str
) -> None:
    found = choose_layout("parallel", composed, exact, 0.98)
    assert found == {"wanted": "parallel", "kept": kept, "used": used}


@pytest.mark.parametrize(
    ("composed", "read", "kept", "used"),
    [
        pytest.param(answers(1, 0), (97.0, 98.0), 0.98, "sequential", id="one lost of a hundred each way"),
        pytest.param(answers(1, 0), (96.0, 98.0), 0.97, "exact", id="two of held-out replies"),
        pytest.param((), (99.0, 100.0), 0.99, "sequential", id="nothing was asked"),
    ],
)
def test_facts_of_held_out_replies_count_beside_those_of_answers(
    composed: Sequence[Answered], read: tuple[float, float], kept: float, used: str
) -> None:
    exact = answers(1, 1) if composed else ()
    assert choose_layout("sequential", composed, exact, 0.98, read) == {
        "wanted": "sequential",
        "kept": kept,
        "used": used,
    }
