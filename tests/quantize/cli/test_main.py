from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantize.cli.main import app
from quantize.formats.gguf_quantize import KINDS
from runtime.errors import GateError, InputError, MissingError, UsageError
from tests.quantize.conftest import FAMILIES

runner = CliRunner()


def test_every_help_shows_an_example() -> None:
    for command in ([], ["run"], ["plan"], ["compare"], ["choose"]):
        result = runner.invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert "Example:" in result.output


def test_a_checkpoint_becomes_files_and_a_second_run_keeps_them(tiny_llama: Path, tmp_path: Path) -> None:
    arguments = [str(tiny_llama), "--out", str(tmp_path / "out"), "--format", "q8_0", "--json"]
    first = runner.invoke(app, arguments, catch_exceptions=False)
    answer = json.loads(first.stdout)
    assert set(answer["files"]) == {"f16", "q8_0"}
    made = Path(answer["files"]["q8_0"]["path"])
    assert made.is_file()
    assert "done in" in first.stderr
    stamp = made.stat().st_mtime_ns
    second = runner.invoke(app, arguments, catch_exceptions=False)
    assert re.search("q8_0 +unchanged", second.stderr)
    assert made.stat().st_mtime_ns == stamp


def test_a_plan_reads_the_configuration_alone(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_llama / "config.json").read_bytes())
    answer = json.loads(runner.invoke(app, ["plan", str(tmp_path), "--json"], catch_exceptions=False).stdout)
    assert [row["format"] for row in answer["formats"]] == ["f16", *KINDS, "onnx_int8"]
    table = runner.invoke(app, ["plan", str(tmp_path)], catch_exceptions=False).stdout.splitlines()
    assert len(table) == 1 + len(answer["formats"])
    assert len({len(line) for line in table}) == 1


def test_compare_measures_records_text_and_speed_and_a_branch_gets_a_file(
    work: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """`run` rounds by a text, `compare` reads both kinds of text, `choose` reads what `compare` printed."""
    text = tmp_path / "text 文.txt"
    text.write_text("Parcels arrive within three days. 退货期限为30天。\n" * 80, encoding="utf-8")
    made = ["--format", "q4_0", "--calibration", str(text)]
    runner.invoke(app, [str(tiny_llama), "--out", str(tmp_path), *made], catch_exceptions=False)
    file = tmp_path / "q4_0" / "model.gguf"
    manifest = json.loads((file.parent / "manifest.json").read_text(encoding="utf-8"))
    figures = manifest["figures"]
    assert 0 < figures["output_error_left"] < 1
    assert figures["kl"][figures["kept"]] == min(figures["kl"].values())
    assert {path.name for path in file.parent.iterdir()} == {"model.gguf", "manifest.json"}
    arguments = ["compare", str(work), "--file", str(file), "--records", "2", "--text", str(text)]
    asked = [*arguments, "--speed-threads", "1", "--plot", str(tmp_path / "a plot.svg"), "--json"]
    printed = runner.invoke(app, asked, catch_exceptions=False).stdout
    answer = json.loads(printed)
    assert [row["format"] for row in answer["measures"]] == ["f32", "q4_0"]
    assert [row["format"] for row in answer["general"]] == ["f32", "q4_0"]
    assert answer["general"][1]["kl"] > 0
    assert answer["measures"][1]["speeds"][0]["threads"] == 1
    assert ">q4_0</text>" in (tmp_path / "a plot.svg").read_text(encoding="utf-8")
    (tmp_path / "measures.json").write_text(printed, encoding="utf-8")
    branch = ["choose", str(tmp_path / "measures.json"), "--wait", "60", "--max-kl", "9", "--min-top1", "0"]
    chosen = runner.invoke(app, [*branch, "--memory", "4000", "--json"], catch_exceptions=False)
    assert json.loads(chosen.stdout)["format"] == "q4_0"
    with pytest.raises(GateError, match="no file passes"):
        runner.invoke(app, [*branch, "--memory", "1"], catch_exceptions=False)
    table = runner.invoke(app, arguments, catch_exceptions=False).stdout
    assert "KL to f32" in table
    assert str(text) in table


def test_a_plan_tells_the_wait_of_a_format_from_its_shape_alone(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_llama / "config.json").read_bytes())
    arguments = ["plan", str(tmp_path), "--wait", "q8_0", "--prompt", "32", "--threads", "1"]
    answer = json.loads(runner.invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    (row,) = answer["waits"]
    assert (row["format"], row["prompt_tokens"], row["threads"]) == ("q8_0", 32, 1)
    assert row["first_word_s"] > 0
    assert row["step_s"] > 0
    assert "first word after 32 tokens" in runner.invoke(app, arguments, catch_exceptions=False).stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_planned_written_and_compared(
    family: str, family_checkpoint: Callable[[str], Path], work: Path, tmp_path: Path
) -> None:
    """`plan`, `run` and `compare` on a random checkpoint of every family that is listed."""
    checkpoint = family_checkpoint(family)
    own = shutil.copytree(work, tmp_path / "work", ignore=shutil.ignore_patterns("merged"))
    shutil.copytree(checkpoint, own / "merged")
    plan = json.loads(runner.invoke(app, ["plan", str(checkpoint), "--json"], catch_exceptions=False).stdout)
    out = tmp_path / "out"
    made = runner.invoke(
        app, [str(checkpoint), "--out", str(out), "--format", "q8_0", "--json"], catch_exceptions=False
    )
    file = Path(json.loads(made.stdout)["files"]["q8_0"]["path"])
    (planned,) = [row["file_bytes"] for row in plan["formats"] if row["format"] == "q8_0"]
    assert planned == pytest.approx(file.stat().st_size, rel=0.1), "a tiny file is a third vocabulary"
    arguments = ["compare", str(own), "--file", str(file), "--records", "1", "--json"]
    rows = json.loads(runner.invoke(app, arguments, catch_exceptions=False).stdout)["measures"]
    assert [row["format"] for row in rows] == ["f32", "q8_0"]
    assert rows[1]["kl"] < 0.01, "random weights decide between near ties, so top-1 says little"


def test_bad_requests_raise_our_errors_for_the_front_door(tmp_path: Path, tiny_llama: Path) -> None:
    for arguments, error in (
        ([str(tmp_path / "none"), "--out", str(tmp_path)], MissingError),
        ([str(tiny_llama), "--format", "q1"], UsageError),
        (["plan", str(tmp_path)], MissingError),
        (["compare", str(tmp_path)], MissingError),
        (["compare", str(tmp_path), "--plot", "x.pdf"], UsageError),
        (["plan", str(tiny_llama), "--wait", "q1"], UsageError),
        ([str(tiny_llama), "--out", str(tmp_path), "--calibration", str(tmp_path / "none")], MissingError),
        ([str(tiny_llama), "--out", str(tmp_path), "--onnx", "--onnx-bits", "3"], UsageError),
        (["choose", str(tmp_path / "none"), "--memory", "1", "--wait", "1"], MissingError),
        (["choose", str(tiny_llama / "config.json"), "--memory", "1", "--wait", "1"], InputError),
    ):
        with pytest.raises(error):
            runner.invoke(app, arguments, catch_exceptions=False)
