"""Two policies, or two models, side by side."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.base.home import lock_home
from runtime.base.manifest import write_manifest
from runtime.base.settings import Settings
from runtime.bundle.generations import current_bundle, install, rollback
from runtime.cli.experiment import app
from runtime.desk.ab_test import AbTest, Trial, compare, read_trial, start
from runtime.desk.desk import Desk
from runtime.desk.open_desk import open_desk
from runtime.desk.policy import Policy
from runtime.desk.prefetch import TypingRequest
from runtime.errors import BusyError, InputError, MissingError
from runtime.events import AskRequest, Done
from runtime.journal.queries import TurnOutcome
from runtime.journal.stored_turn import Feedback, TurnKey
from tests.support.branch import make_gguf

CANDIDATE = """
[[answer]]
id = "window"
text = "Thirty days. 三十天。"
phrases = ["return an item"]
"""


def trial(share: float, *, promoted: bool = False) -> Trial:
    return Trial(AbTest(name="softer", lang="zh", share=share, promoted=promoted), Policy())


def test_a_conversation_keeps_its_arm_and_the_share_is_kept() -> None:
    names = [f"talk-{number}" for number in range(4000)]
    arms = [trial(0.3).arm("zh", name) for name in names]
    assert arms == [trial(0.3).arm("zh", name) for name in names]
    assert 0.27 < arms.count("candidate") / len(arms) < 0.33
    assert {trial(1.0).arm("zh", name) for name in names} == {"candidate"}
    assert {trial(0.01, promoted=True).arm("zh", name) for name in names} == {"candidate"}
    assert trial(1.0).arm("en", "talk") is None


def rows(arm: str, accepted: int, rejected: int) -> list[TurnOutcome]:
    done = [TurnOutcome(arm, f"{arm}{n}", "accepted", 5, 3.0, None) for n in range(accepted)]
    return done + [TurnOutcome(arm, f"{arm}-{n}", "rejected", 2, 9.0, "legal") for n in range(rejected)]


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
        with lock_home(home, "test"), open_desk(home, Settings(threads=1)) as desk:
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
        start(home, AbTest(name="x", lang="en", share=0.5), policy)
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
        start(tmp_path / "home", AbTest(name="x", lang="en", share=0.5), policy)
    assert read_trial(tmp_path / "home") is None


OTHER = "The second model speaks. 第二个模型在说话。"


@pytest.fixture
def two(make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path) -> Path:
    """A home with two generations whose models say different things; the first is current."""
    home = make_home(scripted_gguf)
    newer = tmp_path / "newer"
    shutil.copytree((home / "current").resolve(), newer)
    model = make_gguf(tmp_path / "other.gguf", script=OTHER)
    for name in ("q8_0", "q4_k_m"):
        shutil.copyfile(model, newer / "model" / f"{name}.gguf")
    info = json.loads((newer / "bundle.json").read_text(encoding="utf-8"))
    (newer / "bundle.json").write_text(json.dumps({**info, "version": "2"}), encoding="utf-8")
    write_manifest(newer, "bundle", {}, {"name": "shop"})
    assert install(newer, home) == 2
    assert rollback(home) == 1
    return home


def command(home: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--home", str(home)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def said(desk: Desk, conversation: str, agent: str = "") -> Done:
    request = AskRequest(question="How long can I return an item after delivery?", conversation=conversation)
    done = list(desk.ask(request, threading.Event(), agent=agent))[-1]
    assert isinstance(done, Done)
    return done


def test_two_models_answer_side_by_side_and_one_is_promoted(two: Path) -> None:
    command(two, "start", "larger", "--generation", "2", "--share", "0.5")
    found = read_trial(two)
    assert found is not None
    names = [f"talk-{number}" for number in range(6)]
    arms = {name: found.arm("en", name) for name in names}
    assert set(arms.values()) == {"current", "candidate"}
    with lock_home(two, "test"), open_desk(two, Settings(threads=1)) as desk:
        for name in names:
            answer = said(desk, name)
            tried = arms[name] == "candidate"
            assert answer.model == ("shop-2/q4_k_m" if tried else "shop-1/q4_k_m")
            assert (answer.answer == OTHER) is tried
            desk.journal.feed_back(TurnKey(name, 1), Feedback("accepted" if tried else "rejected"))
        typed = desk.read_ahead(TypingRequest(text="How long can I return ", conversation=names[0]))
        assert typed.state in ("reading", "ready")
    told = json.loads(command(two, "status", "--json"))
    assert told["arms"]["candidate"]["accepted"]["share"] == 1
    assert told["arms"]["current"]["accepted"]["share"] == 0
    command(two, "promote")
    assert current_bundle(two).info.version == "2"
    assert read_trial(two) is None
    with lock_home(two, "test"), open_desk(two, Settings(threads=1)) as desk:
        assert said(desk, "after").answer == OTHER
        assert desk.candidate is None
    assert not (two / "candidate").exists()


def test_a_conversation_stays_with_its_model_when_another_agent_takes_over(two: Path) -> None:
    command(two, "start", "larger", "--generation", "2", "--share", "0.5", "--by", "agent")
    found = read_trial(two)
    assert found is not None
    agents = [f"agent-{number}" for number in range(20)]
    new = next(name for name in agents if found.arm("en", "x", name) == "candidate")
    old = next(name for name in agents if found.arm("en", "x", name) == "current")
    with lock_home(two, "test"), open_desk(two, Settings(threads=1)) as desk:
        assert [said(desk, f"{old}-{n}", old).model for n in range(3)] == ["shop-1/q4_k_m"] * 3
        assert [said(desk, f"{new}-{n}", new).model for n in range(3)] == ["shop-2/q4_k_m"] * 3
        assert said(desk, f"{new}-0", old).model == "shop-2/q4_k_m"
        assert said(desk, f"{old}-0", new).model == "shop-1/q4_k_m"
    command(two, "drop")
    with lock_home(two, "test"), open_desk(two, Settings(threads=1)) as desk:
        assert said(desk, f"{new}-0", new).model == "shop-1/q4_k_m"


def test_a_model_on_trial_that_cannot_be_served_keeps_nobody_from_being_answered(two: Path) -> None:
    command(two, "start", "larger", "--generation", "2", "--share", "1")
    broken = two / "generations" / "2" / "embedder" / "model.onnx"
    broken.unlink()  # generations share files: what is written into one is in both
    broken.write_bytes(b"nothing")
    with lock_home(two, "test"), open_desk(two, Settings(threads=1)) as desk:
        assert said(desk, "talk").model == "shop-1/q4_k_m"
        assert desk.candidate_error
        assert desk.journal.turns("talk")[0].details.arm is None


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--generation", "1"], InputError),
        (["--generation", "7"], MissingError),
        ([], InputError),
        (["--generation", "2", "--by", "weekday"], InputError),
    ],
)
def test_a_trial_that_makes_no_sense_is_refused(two: Path, words: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        command(two, "start", "x", *words)
    assert read_trial(two) is None
