"""Files that leave a branch, read at head office."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.feedback.export_file import (
    ExportHeader,
    newest_turns,
    read_export,
    read_exports,
    require_all_read,
    write_export,
)
from tests.support.feedback_rows import row

HEADER = ExportHeader(
    branch="Lisbon", exported="2026-11-30T09:00:00.000+00:00", edgedesk="0.1.0", bundle="shop", version="2",
    generation=2, waiting=2,
)  # fmt: skip


def test_export_is_read_as_it_was_written_and_is_owner_only(tmp_path: Path) -> None:
    rows = (row(1, question="多久？\u2028 <b>"), row(2, verdict="edited", reply="一个月", rating=4))
    write_export(tmp_path / "out.jsonl", HEADER, rows)
    read = read_export(tmp_path / "out.jsonl")
    assert (read.header, read.rows) == (HEADER, rows)
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600


def test_export_files_that_hold_the_same_turns_count_each_once_in_its_newest_form(tmp_path: Path) -> None:
    older, newer = row(1), row(1, revision=2, key="c/1/2", verdict="accepted")
    for name, rows in (("a", (newer,)), ("b", (older, row(2))), ("c", (older, newer))):
        write_export(tmp_path / name, HEADER, rows)
    turns = newest_turns(read_export(tmp_path / name) for name in "abcab")
    assert turns == {("c", 1): newer, ("c", 2): row(2)}


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: ["", *lines[1:]], 2),
        (lambda lines: [lines[1]], 1),
        (lambda lines: [lines[0].replace("edgedesk-feedback", "other"), lines[1]], 1),
        (lambda lines: [lines[0].replace('"form":1', '"form":2'), lines[1]], 1),
        (lambda lines: [lines[0], lines[1][:-9]], 2),
        (lambda lines: [lines[0], "[" * 100_000], 2),
        (lambda lines: [lines[0].replace("Lisbon", "\\u001b[31m"), lines[1]], 1),
        (lambda lines: [lines[0], lines[1].replace('"turn":1', '"turn":"one"')], 2),
        (lambda lines: [lines[0], lines[1].replace('"question"', '"q"')], 2),
        (lambda _lines: ["not JSON"], 1),
    ],
)
def test_export_that_is_none_is_refused_with_its_line(
    tmp_path: Path, damage: Callable[[list[str]], list[str]], line: int
) -> None:
    path = tmp_path / "out.jsonl"
    write_export(path, HEADER, [row(1)])
    path.write_text("\n".join(damage(path.read_text().splitlines())), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_export(path)
    assert f"out.jsonl:{line}" in refused.value.where
    assert refused.value.hint


def test_export_rows_are_json_of_one_line_each(tmp_path: Path) -> None:
    write_export(tmp_path / "out.jsonl", HEADER, [row(1, question="one\ntwo\x85\u2029")])
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()  # which cuts at more than line feeds
    assert len(lines) == 2
    assert json.loads(lines[1])["question"] == "one\ntwo\x85\u2029"


def test_files_that_cannot_be_read_are_named_beside_those_that_can(tmp_path: Path) -> None:
    write_export(tmp_path / "whole", HEADER, [row(1)])
    (tmp_path / "foreign").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    names = ("foreign", "whole", "empty", "folder", "none")
    read, unreadable = read_exports([tmp_path / name for name in names])
    assert [one.path.name for one in read] == ["whole"]
    assert [one.path.name for one in unreadable] == ["foreign", "empty", "folder", "none"]
    assert [one.what for one in unreadable[1:]] == [
        "the file is empty",
        "a folder, where a file is needed",
        "no such file",
    ]
    require_all_read([], "the page")
    with pytest.raises(
        InputError, match="4 feedback files cannot be read, and the page was made of the rest"
    ) as caught:
        require_all_read(unreadable, "the page")
    assert "foreign: line 1: not UTF-8" in str(caught.value)
    assert "edgedesk feedback export" in caught.value.hint
