"""A release goes to canary branches first, and no further when it does worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.feedback.export_file import FeedbackExport
from runtime.feedback.rollout import RolloutDecision, RolloutPlan, decide_rollout, gather_evidence, read_plan
from tests.support.feedback_exports import answered, export

PLAN = RolloutPlan.model_validate(
    {
        "release": "shop 2",
        "min_turns": 100,
        "max_hand_off_rise": 0.03,
        "ring": [
            {"name": "canary", "branches": ["Lisbon", "里斯本"]},
            {"name": "north", "branches": ["Oslo"]},
            {"name": "everybody", "branches": ["*"]},
        ],
    }
)


def before(branch: str) -> FeedbackExport:
    return export(branch, answered(branch, 400, version="1", handed_off=40))


def after(
    branch: str, turns: int = 200, *, handed_off: int = 20, failed: int = 0, running: str = "2"
) -> FeedbackExport:
    rows = answered(branch, turns, version="2", handed_off=handed_off, failed=failed)
    return export(branch, rows, version=running, day=20)


def decide(*exports: FeedbackExport) -> RolloutDecision:
    return decide_rollout(PLAN, gather_evidence(PLAN, exports))


def test_rollout_begins_with_the_canaries_and_waits_for_all_of_them() -> None:
    decision = decide(before("Lisbon"), before("Oslo"))
    assert (decision.action, decision.ring, decision.branches) == ("wait", "canary", ("Lisbon", "里斯本"))
    decision = decide(before("Lisbon"), after("Lisbon"), before("里斯本"))
    assert decision.action == "wait"
    assert decision.reasons == ("里斯本 has not exported with shop 2 yet",)
    few = decide(before("Lisbon"), after("Lisbon", 30, handed_off=3), after("里斯本", 40, handed_off=4))
    assert few.reasons == ("canary: 70 of 100 questions answered with shop 2",)


def test_rollout_widens_ring_by_ring_to_everybody() -> None:
    fleet = [before("Lisbon"), before("里斯本"), before("Oslo"), before("Paris")]
    canaries = [after("Lisbon"), after("里斯本")]
    decision = decide(*fleet, *canaries)
    assert (decision.action, decision.branches) == ("widen", ("Lisbon", "里斯本", "Oslo"))
    decision = decide(*fleet, *canaries, after("Oslo"))
    assert (decision.action, decision.branches[-1]) == ("widen", "*")
    decision = decide(*fleet, *canaries, after("Oslo"), after("Paris"))
    assert (decision.action, decision.ring) == ("done", "everybody")


def test_rollout_stops_when_hand_offs_rise_beyond_chance_and_the_bound() -> None:
    decision = decide(
        before("Lisbon"), before("里斯本"), after("Lisbon", handed_off=50), after("里斯本", handed_off=50)
    )
    assert (decision.action, decision.branches) == ("stop", ())
    assert decision.reasons == ("canary: hand-offs rose from 10.0% of 800 to 25.0% of 400 questions (bound 3.0%)",)
    chance = decide(
        before("Lisbon"), before("里斯本"), after("Lisbon", 10, handed_off=2), after("里斯本", 10, handed_off=1)
    )
    assert chance.action == "wait", "3 of 20 is no proof of a rise from 10 %"


def test_rollout_stops_when_answers_fail_or_a_branch_went_back_by_itself() -> None:
    failing = decide(before("Lisbon"), before("里斯本"), after("Lisbon", failed=20), after("里斯本"))
    assert failing.action == "stop"
    assert "failures rose" in failing.reasons[0]
    back = decide(before("Lisbon"), after("Lisbon", 3, handed_off=0, running="1"), after("里斯本"))
    assert (back.action, back.reasons) == ("stop", ("Lisbon has gone back to shop 1",))


def test_rollout_stops_when_the_trial_failed_in_a_branch_before_any_customer_was_answered() -> None:
    """The branch went back within its update: not one turn of its journal is the release's."""
    failed = export("里斯本", (), day=20, refused=("shop 0", "shop 2"))
    decision = decide(before("Lisbon"), before("里斯本"), after("Lisbon"), failed)
    assert (decision.action, decision.branches) == ("stop", ())
    assert decision.reasons == ("shop 2 failed its trial in 里斯本",)
    other = export("里斯本", (), day=20, refused=("shop 0",))
    assert decide(before("Lisbon"), before("里斯本"), after("Lisbon"), other).action == "wait"
    later = export("Oslo", (), day=20, refused=("shop 2",))
    decision = decide(before("Lisbon"), before("里斯本"), after("Lisbon"), after("里斯本"), before("Oslo"), later)
    assert (decision.action, decision.ring) == ("stop", "north")


def test_rollout_goes_on_where_a_person_tried_the_release_again_and_it_stayed() -> None:
    again = after("里斯本")
    again = export("里斯本", again.rows, version="2", day=20, refused=("shop 2",))
    assert decide(before("Lisbon"), before("里斯本"), after("Lisbon"), again).action == "widen"


def test_rollout_that_a_later_ring_has_stops_for_that_ring_too() -> None:
    fleet = [before(name) for name in ("Lisbon", "里斯本", "Oslo")]
    decision = decide(*fleet, after("Lisbon"), after("里斯本"), after("Oslo", handed_off=90))
    assert (decision.action, decision.ring) == ("stop", "north")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('release = "shop"\n[[ring]]\nname = "a"\nbranches = ["x"]\n', "name and version"),
        ('release = "shop 2"\n', "ring"),
        ('release = "shop 2"\n[[ring]]\nname = "a"\nbranches = ["x", "x"]\n', "'x' is in two rings"),
        (
            'release = "shop 2"\n[[ring]]\nname = "a"\nbranches = ["*"]\n[[ring]]\nname = "b"\nbranches = ["x"]\n',
            "stands alone",
        ),
        ('release = "shop 2"\nrings = 3\n', "rings"),
    ],
)
def test_rollout_plan_that_is_wrong_is_refused_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rollout.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_plan(tmp_path / "rollout.toml")
