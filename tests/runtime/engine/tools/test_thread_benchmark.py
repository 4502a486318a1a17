"""Threads chosen by measurement: at install, kept in the home, overridden by the setting, shown by doctor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from runtime.base.hardware import FILE_NAME, processors, read_measurement
from runtime.base.settings import load_settings
from runtime.cli.main import app
from runtime.engine.tools.thread_benchmark import (
    ENOUGH,
    ThreadTrial,
    best_rates,
    candidates,
    choose_threads,
    measure_threads,
)
from runtime.errors import ModelError


@given(st.dictionaries(st.integers(1, 64), st.floats(0.1, 500), min_size=1))
def test_no_more_threads_are_taken_than_help(rates: dict[int, float]) -> None:
    chosen = choose_threads(rates, list(rates))
    assert rates[chosen] >= ENOUGH * max(rates.values())
    assert all(rate < ENOUGH * max(rates.values()) for count, rate in rates.items() if count < chosen)


def test_thread_choice_on_a_busy_machine_gives_no_thread_up_for_good() -> None:
    assert choose_threads({1: 50.0, 2: 20.0}, [1, 2]) == 1
    assert choose_threads({1: 50.0}, [1, 2]) == 2
    assert choose_threads({}, [1, 2, 4]) == 4


def test_thread_rates_are_the_best_of_the_trials_in_quiet() -> None:
    """A till that computes for a moment halves a trial's rate; one that never pauses leaves no rate to believe."""
    quiet, crowded = 0.99, 0.5
    beside = [
        ThreadTrial(1, 77.9, quiet),
        ThreadTrial(2, 2.7, crowded),
        ThreadTrial(1, 70.0, quiet),
        ThreadTrial(2, 116.0, quiet),
    ]
    assert best_rates(beside) == {1: 77.9, 2: 116.0}
    assert best_rates(beside[:3]) == {1: 77.9}
    assert choose_threads(best_rates(beside), [1, 2]) == choose_threads(best_rates(beside[:3]), [1, 2]) == 2


@given(st.integers(1, 256))
def test_few_numbers_are_tried_and_all_of_them_can_be_had(count: int) -> None:
    tried = candidates(count)
    assert tried[0] == 1
    assert tried[-1] == count
    assert tried == sorted(set(tried))
    assert len(tried) <= 10


def test_installing_measures_and_what_it_found_is_the_default(
    make_home: Callable[..., Path], random_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(random_gguf)
    monkeypatch.delenv("EDGEDESK_THREADS")
    assert load_settings(home).threads == processors()
    done = CliRunner().invoke(app, ["install", str(home / "current"), "--home", str(home)], catch_exceptions=False)
    assert "threads: " in done.output
    found = read_measurement(home)
    assert found is not None
    assert found.busy == ("busy" in done.output)
    assert (found.processors, found.model) == (processors(), "q4_k_m.gguf")
    measured = [str(count) for count in candidates(processors()) if str(count) in found.tokens_per_s]
    assert list(found.tokens_per_s) == measured
    assert found.busy == (len(measured) < len(candidates(processors())))
    assert min(found.tokens_per_s.values(), default=1) > 0
    # A choice other than the default's shows where it comes from.
    said = json.loads((home / FILE_NAME).read_text()) | {"threads": 1}
    (home / FILE_NAME).write_text(json.dumps(said))
    assert load_settings(home).threads == 1
    monkeypatch.setenv("EDGEDESK_THREADS", "7")
    assert load_settings(home).threads == 7
    findings = {one["name"]: one["said"] for one in json.loads(
        CliRunner().invoke(app, ["doctor", "--json", "--home", str(home)]).stdout
    )["checks"]}  # fmt: skip
    assert findings["threads"].startswith("7 (from settings; measured: 1 (tokens a second by threads: ")


def test_what_was_measured_on_another_machine_or_is_broken_does_not_count(tmp_path: Path) -> None:
    good = {"threads": 1, "processors": processors(), "model": "m", "tokens_per_s": {"1": 9.0}}
    for said, counts in (
        (json.dumps(good), True),
        (json.dumps(good | {"processors": processors() + 1}), False),
        (json.dumps(good | {"threads": 0}), False),
        (json.dumps({"threads": 1}), False),
        ("[]", False),
        ("{", False),
    ):
        (tmp_path / FILE_NAME).write_text(said)
        assert (read_measurement(tmp_path) is not None) == counts, said
        assert load_settings(tmp_path).threads >= 1


def test_a_model_that_cannot_be_run_is_an_error_and_keeps_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + os.urandom(200))
    with pytest.raises(ModelError, match="cannot be run here"):
        measure_threads(tmp_path, broken)
    assert not (tmp_path / FILE_NAME).exists()
