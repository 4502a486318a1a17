"""Exports of several branches, as they come: twice, in several revisions, beside files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.base.jsonl import read_rows
from runtime.errors import InputError
from runtime.feedback.export_file import ExportHeader, write_export
from runtime.feedback.import_exports import import_exports
from runtime.feedback.learning import Correction, KnowledgeGap
from runtime.text.records import Record
from tests.support.feedback_rows import row


def header(branch: str, version: str = "1") -> ExportHeader:
    return ExportHeader(
        branch=branch, exported=f"2026-11-30T0{version}:00:00.000+00:00", edgedesk="0.1.0", bundle="shop",
        version=version, generation=1, waiting=1, dropped=3,
    )  # fmt: skip


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    (folder / "upload").mkdir(parents=True)
    first = row(1, verdict="edited", draft="14 days.", reply="30 days.")
    write_export(folder / "lisbon-1.jsonl", header("Lisbon"), [row(1), row(2, handoff="no_article")])
    write_export(folder / "lisbon-2.jsonl", header("Lisbon", "2"), [first.model_copy(update={"revision": 2})])
    write_export(folder / "upload" / "5f3e", header("里斯本"), [row(1, "other", lang="zh", verdict="accepted")])
    write_export(folder / "upload" / "5f3e-again", header("里斯本"), [row(1, "other", lang="zh", verdict="accepted")])
    write_export(
        folder / "upload" / "odd", header("里斯本"), [row(2, "other", lang="klingon"), row(3, "other", question=" ")]
    )
    return folder


def test_import_counts_every_turn_once_and_accounts_for_the_rest(exports: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = import_exports([exports, exports / "lisbon-1.jsonl"], out)
    assert (report.files, report.rows, report.turns) == (5, 7, 5)
    assert (report.records, report.corrections, report.gaps) == (2, 1, 1)
    assert report.refused == {"no language": 1, "no question": 1}
    assert report.branches["Lisbon"]["version"] == "2"
    assert report.branches["Lisbon"]["use"]["hand_off_rate"] == 0.5
    assert report.branches["里斯本"]["turns"] == 3
    assert [one.reply for one in read_rows(Correction, out / "corrections.jsonl")] == ["30 days."]
    assert [one.lang for one in read_rows(Record, out / "records.jsonl")] == ["en", "zh"]
    assert [one.asked for one in read_rows(KnowledgeGap, out / "gaps.jsonl")] == [1]
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["turns"] == 5
    assert (out / "corrections.jsonl").stat().st_mode & 0o777 == 0o600
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    import_exports([exports], out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before, "the same files give the same folder"


def test_import_names_files_that_are_none_and_takes_the_others(exports: Path, tmp_path: Path) -> None:
    whole = import_exports([exports], tmp_path / "whole")
    (exports / "notes.txt").write_text("call Lisbon")
    torn = exports / "撕裂.jsonl"
    torn.write_bytes((exports / "lisbon-1.jsonl").read_bytes()[:-9])
    report = import_exports([exports], tmp_path / "out")
    assert report.unreadable.keys() == {str(exports / "notes.txt"), str(torn)}
    assert report.unreadable[str(exports / "notes.txt")] == "line 1: not a feedback file"
    assert report.unreadable[str(torn)].startswith("line 3: ")
    assert (report.files, report.turns, report.records) == (whole.files, whole.turns, whole.records)


def test_import_refuses_what_holds_no_feedback_at_all_and_leaves_nothing(exports: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("call Lisbon")
    with pytest.raises(InputError, match="not one of 1 feedback files can be read"):
        import_exports([tmp_path / "notes.txt"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(InputError, match="holds no import"):
        import_exports([exports / "lisbon-1.jsonl"], tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty folder"):
        import_exports([tmp_path / "empty"], tmp_path / "out")
