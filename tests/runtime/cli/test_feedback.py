"""`edgedesk feedback`, beside a running server and without one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.base.home import lock_home
from runtime.cli.feedback import app
from runtime.client.server_process import start_server
from runtime.errors import BusyError, InputError, MissingError, UsageError
from runtime.feedback.export_file import read_export
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import Feedback
from tests.support.server import serving, wait_for


def run(*arguments: object) -> tuple[str, str]:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


@pytest.fixture
def home(make_home: Callable[..., Path], scripted_gguf: Path) -> Path:
    home = make_home(scripted_gguf)
    with Journal(home / "journal.sqlite") as journal:
        key = journal.ask("talk", "退货期限是多久？我的邮箱 ann@example.com\x1b[31m", "zh")
        journal.end(key, "complete", "30天")
        journal.feed_back(key, Feedback("edited", "31天"))
        journal.end(journal.ask("other", "Do you sell boats?", "en"), "complete", "", handoff="no_article")
        journal.end(journal.ask("practice-1", "How long?", "en"), "complete", "30 days")
    return home


def look_and_take_out(home: Path, target: Path) -> None:
    said = json.loads(run("preview", "--home", home, "--json")[0])
    assert (said["header"]["waiting"], said["header"]["generation"], said["header"]["bundle"]) == (2, 1, "shop")
    assert [turn["draft"] for turn in said["turns"]] == ["30天", ""]
    assert (said["use"]["hand_off_rate"], said["use"]["helped_share"]) == (0.5, 1.0)
    plain, talk = run("preview", "--home", home, "--limit", 1)
    assert "question: 退货期限是多久？我的邮箱 <EMAIL_1>" in plain
    assert "reply: 31天" in plain
    assert "\x1b" not in plain
    assert "1 more" in talk
    assert "2 turns of branch-" in talk
    kept = json.loads(run("export", target / "kept.jsonl", "--home", home, "--keep", "--json")[0])
    assert kept["turns"] == 2
    out = run("export", target, "--home", home)[0]
    (file,) = target.glob("feedback-branch-*.jsonl")
    assert out == f"{file}: 2 turns\n"
    rows = read_export(file).rows
    assert rows == read_export(target / "kept.jsonl").rows
    assert "ann@example.com" not in file.read_text(encoding="utf-8")
    assert json.loads(run("preview", "--home", home, "--json")[0])["turns"] == []
    plain = run("import", target, "--out", target.parent / "imported")[0]
    assert "no article: 1 x Do you sell boats?" in plain
    assert "1 records, 1 corrections, 1 knowledge gaps of 2 turns in 2 files" in plain


def test_feedback_is_seen_and_exported_without_a_server(home: Path, tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    look_and_take_out(home, tmp_path / "stick")


def test_feedback_is_seen_and_exported_beside_a_running_server(home: Path, tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    with serving(home):
        look_and_take_out(home, tmp_path / "stick")


def test_feedback_waits_for_a_server_that_is_starting(home: Path) -> None:
    """C10: the branch's own programs meet a server that is not ready yet, as after a restart at night."""
    with start_server(home) as client:  # which does not wait until it is ready
        wait_for(client.is_alive)
        said, _ = run("preview", "--home", home, "--json")
    assert json.loads(said)["header"]["waiting"] == 2


def test_feedback_refuses_what_it_cannot_do_in_one_sentence(home: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.jsonl"
    taken.write_text("mine")
    with pytest.raises(InputError, match="there already"):
        run("export", taken, "--home", home)
    assert taken.read_text() == "mine"
    (tmp_path / "media").mkdir()
    for target in ("media/stick", "media/stick/out.jsonl", "nowhere/stick", "nowhere/stick/out.jsonl"):
        with pytest.raises(MissingError, match="no such folder") as missing:
            run("export", tmp_path / target, "--home", home)
        assert "put the stick in" in missing.value.hint
    assert not (tmp_path / "nowhere").exists()
    assert not list((tmp_path / "media").iterdir())
    with pytest.raises(UsageError, match="uplink"):
        run("send", "--home", home)
    with pytest.raises(MissingError, match="no journal"):
        run("preview", "--home", tmp_path / "nowhere")
    with lock_home(home, "journal prune"), pytest.raises(BusyError):
        run("export", tmp_path / "out.jsonl", "--home", home)
    if os.geteuid():  # root may write everywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises((InputError, UsageError, PermissionError)):
            run("export", tmp_path / "closed", "--home", home)
    assert json.loads(run("preview", "--home", home, "--json")[0])["header"]["waiting"] == 2
