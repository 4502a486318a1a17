"""The benchmarks' arithmetic: figures, bars, turns, and what is made of a stream."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import MissingError, UnavailableError
from tests.support.paths import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    """Benchmarks are scripts, not a package: the module is loaded from where it lies."""
    spec = importlib.util.spec_from_file_location("_harness", FOLDER / "_harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_harness"] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), share=st.floats(0, 1))
def test_quantiles_are_numpys(harness: ModuleType, values: list[float], share: float) -> None:
    import numpy as np

    assert harness.quantile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-6)


def test_no_values_have_no_median_and_no_bar_lets_that_pass(harness: ModuleType) -> None:
    assert math.isnan(harness.median([]))
    assert harness.spread([]) == "nothing"
    assert not harness.Bar(least=0.0).holds(math.nan)
    assert not harness.Bar(most=9.0).holds(None)


def test_a_bar_that_is_missed_or_has_no_figure_is_named(harness: ModuleType) -> None:
    bars = {"fast": harness.Bar(least=2.0), "small": harness.Bar(most=1.1), "gone": harness.Bar(least=0.0)}
    assert harness.missed({"fast": 2.0, "small": 1.1, "gone": 0.0}, bars) == []
    assert harness.missed({"fast": 1.99, "small": 1.2}, bars) == ["fast", "small", "gone"]


def test_each_goes_first_in_every_second_round(harness: ModuleType) -> None:
    order: list[str] = []
    contestants = {name: lambda number, name=name: order.append(name) or number for name in ("peer", "engine")}
    assert harness.in_turns(3, contestants) == {"peer": [0, 1, 2], "engine": [0, 1, 2]}
    assert order == ["peer", "engine", "engine", "peer", "peer", "engine"]


def test_a_gap_counts_when_it_touches_the_time_looked_at(harness: ModuleType) -> None:
    arrivals = (1.0, 2.0, 4.0, 9.0, 10.0)
    assert harness.gaps(arrivals) == [1.0, 2.0, 5.0, 1.0]
    assert harness.gaps(arrivals, start=3.0, end=5.0) == [2.0, 5.0]
    assert harness.gaps(arrivals, end=4.0) == [1.0, 2.0]
    assert harness.gaps(()) == []


def test_a_reply_s_rate_leaves_the_first_token_out(harness: ModuleType) -> None:
    reply = harness.Reply(asked=0.0, arrivals=(2.0, 2.5, 4.0), ended=4.0, text="abc", tokens=5)
    assert reply.first_s == 2.0
    assert reply.rate == 2.0
    assert harness.total_rate([reply, harness.Reply(1.0, (3.0,), 5.0, "x", 5)]) == 2.0
    assert math.isnan(harness.Reply(0.0, (), 1.0, "", 0).first_s)


def test_shares_fall_as_one_over_the_rank_and_make_one(harness: ModuleType) -> None:
    shares = harness.zipf(60)
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx(10 * shares[9])


def test_a_stream_of_events_is_read_and_its_error_raised(harness: ModuleType) -> None:
    lines = [b'data: {"content": "\xe9\x80\x80"}\n', b"\n", b": ping\n", b"data: [DONE]\n"]
    assert list(harness.read_events(lines)) == [{"content": "退"}]
    with pytest.raises(UnavailableError, match="failed"):
        list(harness.read_events([b'error: {"message": "context"}\n']))


def test_asked_together_replies_keep_their_order_and_an_error_is_heard(harness: ModuleType) -> None:
    reply = harness.Reply(0.0, (1.0,), 1.0, "x", 1)
    other = harness.Reply(0.0, (2.0,), 2.0, "y", 1)
    assert harness.together([lambda: reply, lambda: other]) == [reply, other]

    def broken() -> object:
        raise MissingError("no model")

    with pytest.raises(MissingError):
        harness.together([lambda: reply, broken])


@pytest.mark.parametrize(("absent", "value", "holds"), [([], 1.0, True), (["the peer"], 1.0, False), ([], 0.5, False)])
def test_what_is_absent_or_missed_does_not_hold(
    harness: ModuleType, capsys: pytest.CaptureFixture[str], absent: list[str], value: float, holds: bool
) -> None:
    run = harness.Run("lookup", {"ratio": harness.Bar(least=1.0)}, argparse.Namespace(json=True))
    run.figures["ratio"] = value
    run.absent += absent
    assert run.end() == (0 if holds else 1)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == {"name": "lookup", "figures": {"ratio": value}, "bar": {"ratio": {"least": 1.0}}, "holds": holds}


def test_what_was_measured_in_one_sitting_counts_in_the_next(
    harness: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import first_token  # type: ignore[import-not-found]

    times: dict[str, dict[str, float]] = {}
    run = harness.Run("first_token", first_token.BARS, argparse.Namespace(json=True))
    for number, seconds in ((0, 1.0), (1, 3.0)):
        first_token.keep(times, "engine", number, seconds)
        first_token.keep(times, "peer", number, 30 * seconds)
    first_token.verdict(run, {name: list(by.values()) for name, by in times.items()})
    assert (run.figures["p50_ratio"], run.figures["p50_s"]) == (30.0, 2.0)
    assert "ahead_p50_ratio" not in run.figures  # not measured yet: the claim does not hold
    assert run.end() == 1
    first_token.keep(times, first_token.AHEAD, 0, 0.125)
    first_token.keep(times, first_token.ALONE, 0, 2.0)
    first_token.keep(times, first_token.BESIDE, 0, 2.05)
    first_token.verdict(run, {name: list(by.values()) for name, by in times.items()})
    assert run.figures["ahead_p50_ratio"] == 480.0
    assert run.end() == 0
    capsys.readouterr()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_every_benchmark_states_its_claim_and_the_command_that_runs_it(path: Path) -> None:
    import ast

    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert f"python benchmarks/{path.name}" in about
    if not path.stem.startswith("shape"):
        assert about.startswith("Claim: ")
