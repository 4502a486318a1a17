"""A runner of stages: what has not changed is not made again, what is forced is, and both are said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.base.build_stage import StageRunner, files_digest
from runtime.base.manifest import Manifest


def make(text: str) -> Any:
    def work(folder: Path) -> Mapping[str, Any]:
        (folder / "text").write_text(text)
        return {"characters": len(text)}

    return work


def test_stage_runner_makes_what_changed_and_keeps_manifests_by_name(tmp_path: Path) -> None:
    lines: list[str] = []
    first = StageRunner(lines.append, prefix="half: ")
    first.run("one", tmp_path / "one", {"a": 1}, make("一"))
    first.run("two", tmp_path / "two", {"one": files_digest(first.manifests["one"])}, make("two"), kind="text")
    assert list(first.manifests) == ["one", "two"]
    assert [manifest.kind for manifest in first.manifests.values()] == ["one", "text"]
    assert [line.split()[1:3] for line in lines] == [
        ["one", "started"], ["one", "done"], ["two", "started"], ["two", "done"],
    ]  # fmt: skip
    lines.clear()
    again = StageRunner(lines.append)
    again.run("one", tmp_path / "one", {"a": 1}, make("never made"))
    again.run("two", tmp_path / "two", {"one": "other files"}, make("2"), kind="text")
    assert [line.split()[:2] for line in lines] == [["one", "unchanged"], ["two", "started"], ["two", "done"]]
    assert again.seconds["one"] < 1
    assert again.manifests["one"] == first.manifests["one"]


def test_stage_runner_makes_again_what_is_forced(tmp_path: Path) -> None:
    StageRunner(lambda _: None).run("one", tmp_path / "one", {}, make("1"))
    lines: list[str] = []
    StageRunner(lines.append, force=("one",)).run("one", tmp_path / "one", {}, make("2"))
    assert "done in" in lines[1]
    assert (tmp_path / "one" / "text").read_text() == "2"


def test_files_digest_depends_on_files_alone(tmp_path: Path) -> None:
    """Figures such as seconds differ from run to run, and would make every later stage stale."""
    made = [StageRunner(lambda _: None).run("s", tmp_path / name, {name: 1}, make("same")) for name in ("a", "b")]
    assert made[0] != made[1]
    assert files_digest(made[0]) == files_digest(made[1])
    assert files_digest(made[0]) != files_digest(Manifest(kind="s"))
