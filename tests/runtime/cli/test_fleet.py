from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli.fleet import app
from runtime.errors import GateError
from runtime.feedback.export_file import write_export
from tests.support.feedback_exports import answered, export

PLAN = 'release = "shop 2"\nmin_turns = 10\n[[ring]]\nname = "canary"\nbranches = ["里斯本"]\n'


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    made = [
        export("里斯本", answered("里斯本", 40, version="1", handed_off=2)),
        export("里斯本", answered("里斯本", 40, version="2", handed_off=2), version="2", day=20),
    ]
    for number, one in enumerate(made):
        write_export(tmp_path / "uploads" / str(number), one.header, one.rows)
    return tmp_path / "uploads"


def test_fleet_writes_one_page_that_only_its_owner_reads(uploads: Path, tmp_path: Path) -> None:
    out = tmp_path / "fleet.html"
    said = json.loads(run("fleet", uploads, "--out", out, "--lang", "zh", "--json"))
    assert [(one["branch"], one["version"], one["use"]["turns"]) for one in said["branches"]] == [("里斯本", "2", 80)]
    assert "门店总览" in out.read_text(encoding="utf-8")
    assert out.stat().st_mode & 0o777 == 0o600
    assert run("fleet", uploads, "--out", out) == f"{out}: 1 branches, 80 questions\n"


def test_rollout_prints_its_decision_and_stops_with_the_gates_exit_code(uploads: Path, tmp_path: Path) -> None:
    plan = tmp_path / "rollout.toml"
    plan.write_text(PLAN, encoding="utf-8")
    said = json.loads(run("rollout", plan, uploads, "--json"))
    assert (said["action"], said["branches"]) == ("done", ["里斯本"])
    worse = export("里斯本", answered("里斯本", 90, version="2", handed_off=60), version="2", day=21)
    write_export(uploads / "2", worse.header, worse.rows)
    with pytest.raises(GateError, match="hand-offs rose"):
        run("rollout", plan, uploads)
