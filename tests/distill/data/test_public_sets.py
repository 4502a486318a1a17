"""Public sets that nobody here wrote become records, or labelled questions, each with its data card.

What is not there is skipped; `docs/how-to/public-data.md` has the commands and the whole figures.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from distill.cli.data import app
from tests.support.paths import ROOT, SHARED_DATA

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="../shared/data is not there")
ROWS = 400
"""Of the large sets, so that the ordinary run stays short."""


def prepared(source: Path, out: Path, options: Sequence[str] = ()) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["prepare", str(source), "--out", str(out), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (out / "card.html").stat().st_size > 2000
    assert source.name in (out / "card.md").read_text(encoding="utf-8") or source.suffix == ".toml"
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def head(source: Path, folder: Path) -> Path:
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)[: ROWS + 1]
    (folder / source.name).write_text("".join(lines), encoding="utf-8")
    return folder / source.name


@pytest.mark.parametrize("name", ["en_banking77/train.csv", "en_multidogo/turn_level/media/train.tsv"])
def test_labelled_set_becomes_labelled_questions(name: str, tmp_path: Path) -> None:
    report = prepared(head(SHARED_DATA / name, tmp_path), tmp_path / "out")
    assert report["refused_count"] <= 1, "one of MultiDoGO's rows has no text"
    left_out = report["duplicates"] + report["without_reply"] + report["refused_count"]
    dropped: dict[str, int] = report["dropped"]
    rows: int = report["files"][0]["rows"]
    assert report["labelled"] + left_out + sum(dropped.values()) == rows
    assert ROWS - 10 < rows <= ROWS, "a quoted cell may span two lines"
    assert report["labelled"] > ROWS // 3


def test_abcd_s_sample_becomes_records_without_its_customers_values(tmp_path: Path) -> None:
    report = prepared(SHARED_DATA / "en_abcd_policy" / "abcd_sample.json", tmp_path / "out")
    assert report["conversations"] == 3
    assert report["kept"] > 15
    text = "".join((tmp_path / "out" / f"{split}.jsonl").read_text() for split in ("train", "valid", "test"))
    for personal in ("cminh730", "(977) 625-2661", "3348917502", "Crystal Minh"):
        assert personal not in text, personal


def test_crosswoz_s_dialogs_become_records(tmp_path: Path) -> None:
    """Its authors are `usr` and `sys`; the second is said to be the assistant."""
    with zipfile.ZipFile(SHARED_DATA / "zh_crosswoz" / "val.json.zip") as archive:
        dialogs = json.loads(archive.read("val.json"))
    few = dict(list(dialogs.items())[:20])
    (tmp_path / "val.json").write_text(json.dumps(few, ensure_ascii=False), encoding="utf-8")
    report = prepared(tmp_path / "val.json", tmp_path / "out", ["--role", "assistant=sys"])
    assert (report["conversations"], report["refused_count"]) == (20, 0)
    assert report["kept"] > 100


def test_bitcoin_faq_becomes_records_in_both_languages(tmp_path: Path) -> None:
    report = prepared(ROOT / "recipes" / "bitcoin-faq.toml", tmp_path / "out")
    assert report["kept"] > 30
