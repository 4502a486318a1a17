from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.cli.data import app
from runtime.errors import InputError, UsageError

CSV = """conversation,role,content
c1,customer,"Hello, my e-mail is sam@example.com. 退货要几天？"
c1,agent,Within 30 days.
c2,nobody,What is this role?
c3,customer,How much is delivery?
c3,agent,It costs 4.90.
"""


def test_transcripts_become_redacted_records_and_bad_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text(CSV, encoding="utf-8")
    done = CliRunner().invoke(app, ["prepare", str(tmp_path / "chats.csv"), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["kept"] == 2
    assert len(report["refused"]) == 1
    assert "chats.csv:4" in report["refused"][0]
    text = "".join((tmp_path / "out" / f"{s}.jsonl").read_text(encoding="utf-8") for s in ("train", "valid", "test"))
    assert "sam@example.com" not in text
    assert "<EMAIL_1>" in text
    assert "退货要几天？" in text


def test_a_missing_column_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text("conversation,content\nc1,Hello\n", encoding="utf-8")
    with pytest.raises(InputError, match="role"):
        CliRunner().invoke(
            app, ["prepare", str(tmp_path / "chats.csv"), "--out", str(tmp_path / "out")], catch_exceptions=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["chats.csv"]


def test_simulated_conversations_are_transcripts_again(shop: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", str(shop / "zh"), "--conversations", "5"])
    assert done.exit_code == 0, done.output
    (tmp_path / "chats.jsonl").write_text(done.stdout, encoding="utf-8")
    again = CliRunner().invoke(
        app, ["prepare", str(tmp_path / "chats.jsonl"), "--out", str(tmp_path / "out"), "--json"]
    )
    assert json.loads(again.stdout)["conversations"] == 5
    assert json.loads(again.stdout)["refused"] == []


@pytest.mark.parametrize("lang", ["EN", "zh-CN", "Chinese", "1"])
def test_language_that_is_no_two_letter_code_is_refused_before_any_work(lang: str, tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text(CSV, encoding="utf-8")
    arguments = ["prepare", str(tmp_path / "chats.csv"), "--out", str(tmp_path / "out"), "--lang", lang]
    with pytest.raises(UsageError, match=f"language '{lang}' is not a two-letter code") as error:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert error.value.where == "--lang"
    assert not (tmp_path / "out").exists()
