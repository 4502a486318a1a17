from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.base.home import lock_home
from runtime.cli.journal import app
from runtime.errors import BusyError
from runtime.journal.journal import Journal


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def home(make_home: Callable[..., Path], scripted_gguf: Path) -> Path:
    home = make_home(scripted_gguf)
    long_ago = datetime.now(UTC) - timedelta(days=50)
    with Journal(home / "journal.sqlite", now=lambda: long_ago) as journal:
        key = journal.ask("old", "退货期限是多久？\x1b[31m", "zh")
        journal.end(key, "complete", "30天")
    return home


def test_search_backup_and_prune(home: Path, tmp_path: Path) -> None:
    assert json.loads(run("search", "退货", "--home", home, "--json"))["turns"][0]["draft"] == "30天"
    plain = run("search", "退货", "--home", home)
    assert "退货期限是多久？" in plain
    assert "\x1b" not in plain
    target = tmp_path / "copy.sqlite"
    assert json.loads(run("backup", target, "--home", home, "--json"))["bytes"] == target.stat().st_size
    pruned = json.loads(run("prune", "--home", home, "--keep-days", "60", "--json"))
    assert (pruned["deleted"], pruned["redacted"], pruned["paused"]) == (0, 0, "")
    kept = json.loads(run("prune", "--home", home, "--keep-days", "30", "--json"))
    assert (kept["deleted"], kept["redacted"], kept["waiting"]) == (0, 1, 1), "what waits to leave is not deleted"
    assert run("prune", "--home", home, "--keep-days", "30", "--unsent").startswith(
        "1 conversations deleted, of which 1 turns had not left the branch"
    )
    assert run("search", "退货", "--home", home) == ""


def test_only_the_owner_of_the_home_prunes(home: Path) -> None:
    with lock_home(home, "serve"), pytest.raises(BusyError):
        run("prune", "--home", home)
