"""Two policies side by side."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli_experiment import app
from runtime.desk import open_desk
from runtime.errors import BusyError, InputError, MissingError
from runtime.events import AskRequest, Done
from runtime.experiment import Experiment, Outcome, Trial, compare, read_trial, start
from runtime.home import hold
from runtime.journal import Feedback, TurnKey
from runtime.policy import Policy
from runtime.settings import Settings

CANDIDATE = """
[[answer]]
id = "window"
text = "Thirty days. 三十天。"
phrases = ["return an item"]
"""


def trial(share: float, *, promoted: bool = False) -> Trial:
    return Trial(Experiment(name="softer", lang="zh", share=share, promoted=promoted), Policy())


def test_a_conversation_keeps_its_arm_and_the_share_is_kept() -> None:
    names = [f"talk-{number}" for number in range(4000)]
    arms = [trial(0.3).arm("zh", name) for name in names]
    assert arms == [trial(0.3).arm("zh", name) for name in names]
    assert 0.27 < arms.count("candidate") / len(arms) < 0.33
    assert {trial(1.0).arm("zh", name) for name in names} == {"candidate"}
    assert {trial(0.01, promoted=True).arm("zh", name) for name in names} == {"candidate"}
    assert trial(1.0).arm("en", "talk") is None


def rows(arm: str, accepted: int, rejected: int) -> list[Outcome]:
    done = [Outcome(arm, f"{arm}{n}", "accepted", 5, 3.0, None) for n in range(accepted)]
    return done + [Outcome(arm, f"{arm}-{n}", "rejected", 2, 9.0, "legal") for n in range(rejected)]


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        ((90, 10), (50, 50), "candidate"),
        ((50, 50), (90, 10), "current"),
        ((9, 1), (5, 5), "undecided"),
        ((50, 50), (50, 50), "undecided"),
        ((0, 0), (90, 10), "undecided"),
        ((0, 0), (0, 0), "undecided"),
    ],
)
def test_nothing_is_called_better_while_the_interval_leaves_it_open(
    new: tuple[int, int], old: tuple[int, int], better: str
) -> None:
    compared = compare([*rows("candidate", *new), *rows("current", *old)])
    assert compared["better"] == better
    json.dumps(compared, allow_nan=False)


def test_a_difference_comes_with_the_interval_of_the_literature() -> None:
    """Newcombe 1998, method 10: 56 of 70 against 48 of 80 is .2000, from .0524 to .3339."""
    compared = compare([*rows("candidate", 56, 14), *rows("current", 48, 32)])
    assert compared["difference"] == pytest.approx([0.2, 0.0524, 0.3339], abs=2e-4)


def test_a_policy_is_tried_compared_promoted_and_dropped(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path
) -> None:
    home = make_home(scripted_gguf)
    policy = tmp_path / "new.toml"
    policy.write_text(CANDIDATE, encoding="utf-8")
    question = "How long can I return an item after delivery?"

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--home", str(home)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    def ask(*names: str) -> dict[str, str]:
        out = {}
        with hold(home, "test"), open_desk(home, Settings(threads=1)) as desk:
            for name in names:
                done = list(desk.ask(AskRequest(question=question, conversation=name), threading.Event()))[-1]
                assert isinstance(done, Done)
                out[name] = done.decided
                desk.journal.feed_back(TurnKey(name, 1), Feedback("accepted"))
        return out

    with pytest.raises(MissingError):
        CliRunner().invoke(app, ["status", "--home", str(home)], catch_exceptions=False)
    run("start", "softer", "--policy", str(policy), "--share", "0.5")
    with pytest.raises(BusyError):
        start(home, Experiment(name="x", lang="en", share=0.5), policy)
    found = read_trial(home)
    assert found is not None
    names = [f"talk-{number}" for number in range(6)]
    expected = {name: "fixed:window" if found.arm("en", name) == "candidate" else "model" for name in names}
    assert set(expected.values()) == {"fixed:window", "model"}
    assert ask(*names) == expected
    told = json.loads(run("status", "--json"))
    counts = {arm: row["judged"] for arm, row in told["arms"].items()}
    assert counts == {
        "current": list(expected.values()).count("model"),
        "candidate": list(expected.values()).count("fixed:window"),
    }
    assert "undecided" in run("status")
    run("promote")
    other = next(name for name in names if expected[name] == "model")
    assert ask(other + "-again") == {other + "-again": "fixed:window"}
    run("drop")
    assert ask("last") == {"last": "model"}


def test_a_wrong_policy_never_begins(tmp_path: Path) -> None:
    policy = tmp_path / "new.toml"
    policy.write_text("[tone.angry]\nsya = 'x'\n", encoding="utf-8")
    with pytest.raises(InputError):
        start(tmp_path / "home", Experiment(name="x", lang="en", share=0.5), policy)
    assert read_trial(tmp_path / "home") is None
