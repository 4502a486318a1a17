"""`edgedesk models list`: what it tells with and without a measured machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgedesk_models import app
from runtime.base.hardware import FILE_NAME


def listed(*flags: str) -> tuple[dict[str, list[dict[str, object]]], str]:
    done = CliRunner().invoke(app, ["list", "--json", *flags])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_models_are_listed_with_licence_and_memory_where_nothing_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEDESK_HOME", str(tmp_path / "no home"))
    rows = listed()[0]["known"]
    assert all(row["licence"] and row["languages"] for row in rows)
    assert all(row["words_per_s"] is None for row in rows)
    for row in rows:
        # What cannot be built says why, and nothing else is made up for it.
        assert bool(row["cannot_build"]) == (row["memory_mb"] is None) == (row["composes"] is None)
    assert any(row["cannot_build"] for row in rows)
    shown = CliRunner().invoke(app, ["list"])
    assert "Qwen/Qwen3-4B" in shown.stdout
    assert "nothing was measured here" in shown.stderr
    assert not (tmp_path / "no home").exists()


def test_models_speeds_follow_the_installed_model_that_was_measured(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    model = next((home / "current" / "model").glob("*.gguf"))
    measured = {
        "threads": 1,
        "processors": len(os.sched_getaffinity(0)),
        "model": model.name,
        "tokens_per_s": {"1": 100.0},
    }
    (home / FILE_NAME).write_text(json.dumps(measured), encoding="utf-8")
    speeds = [row["words_per_s"] for row in listed()[0]["known"] if not row["cannot_build"]]
    assert all(isinstance(speed, float) for speed in speeds)
    assert speeds[0] > speeds[-1]  # type: ignore[operator]  # half a billion against fourteen
    (home / FILE_NAME).write_text(json.dumps(measured | {"model": "another.gguf"}), encoding="utf-8")
    assert all(row["words_per_s"] is None for row in listed()[0]["known"])


def test_models_carried_by_packages_are_listed_alone_on_request() -> None:
    found = listed("--fetchable")[0]
    assert not found["known"]
    assert "smollm2-135m-instruct" in [row["name"] for row in found["packaged"]]
