"""What `edgedesk doctor` finds, and that it says how to mend it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.manifest import write_manifest
from runtime.bundle.generations import current_bundle
from runtime.cli import doctor
from runtime.cli.doctor import Finding, examine


def findings(home: Path) -> dict[str, Finding]:
    return {one.name: one for one in examine(home)}


def test_doctor_of_a_sound_branch_finds_nothing_and_predicts_the_first_word(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    found = findings(make_home(scripted_gguf))
    assert [one for one in found.values() if not one.ok] == []
    figures = found["model"].figures
    assert 0 < figures["compiled_s"] <= figures["uncompiled_s"]
    assert figures["article_tokens"] > figures["question_tokens"] > 0
    assert "glibc" in found["system"].said
    assert "llama.cpp's code for: " in found["processor"].said
    assert "sections" in found["articles"].said


def test_doctor_without_a_bundle_names_the_next_command(tmp_path: Path) -> None:
    found = findings(tmp_path / "nothing yet")
    bad = {name: one.hint for name, one in found.items() if not one.ok}
    assert bad == dict.fromkeys(("bundle", "articles", "model"), "edgedesk install BUNDLE")
    assert not (tmp_path / "nothing yet").exists(), "it looks and makes nothing"


@pytest.mark.parametrize(
    ("spoil", "name", "said", "cure"),
    [
        (lambda home: home.chmod(0o755), "owner", "other users may read it (mode 755)", "chmod go="),
        (lambda home: (home / "settings.toml").write_text("thread = 2\n"), "settings", "thread", "threads"),
        (
            lambda home: (home / "current").resolve().joinpath("articles/en/returns-window.md").write_text("changed"),
            "bundle",
            "returns-window.md",
            "install",
        ),
        (
            lambda home: (home / "current").resolve().joinpath("model/q4_k_m.gguf").write_bytes(b"GGUF" + b"\0" * 60),
            "model",
            "q4_k_m.gguf",
            "",
        ),
    ],
    ids=["readable home", "misspelt setting", "changed article", "broken model"],
)
def test_doctor_names_a_problem_and_its_cure(
    spoil: Callable[[Path], object],
    name: str,
    said: str,
    cure: str,
    make_home: Callable[..., Path],
    scripted_gguf: Path,
) -> None:
    home = make_home(scripted_gguf)
    spoil(home)
    found = findings(home)
    assert not found[name].ok
    assert said in found[name].said
    assert cure in found[name].hint
    assert found["system"].ok, "the other checks ran"


def test_doctor_sees_a_clock_before_the_bundle_was_built(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    home = make_home(scripted_gguf)
    root = current_bundle(home).root
    info = json.loads((root / "bundle.json").read_text(encoding="utf-8"))
    (root / "bundle.json").write_text(json.dumps(info | {"created": "2999-01-01T00:00:00Z"}), encoding="utf-8")
    write_manifest(root, "bundle", {}, {"name": "shop"})
    found = findings(home)["clock"]
    assert not found.ok
    assert "before the bundle was built (2999-01-01)" in found.said
    assert "timedatectl" in found.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_doctor_names_the_owner_of_another_users_branch(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    home = make_home(scripted_gguf)
    os.chown(home, 65534, 65534)
    found = findings(home)["owner"]
    assert not found.ok
    assert "belongs to nobody" in found.said
    assert "sudo -u nobody edgedesk doctor" in found.hint


def test_doctor_survives_a_check_that_fails_for_another_reason(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    shutil.rmtree((home / "current").resolve() / "embedder")
    found = findings(home)
    assert not found["bundle"].ok
    assert not found["model"].ok
    assert found["disk"].ok


@pytest.mark.parametrize(("libc", "said"), [(None, "not glibc"), ((2, 31), "2.31 is too old")])
def test_doctor_refuses_a_system_with_another_c_library(
    libc: tuple[int, int] | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "confstr", lambda _: None if libc is None else f"glibc {libc[0]}.{libc[1]}")
    found = {one.name: one for one in doctor.examine(tmp_path / "none")}["system"]
    assert not found.ok
    assert said in found.said
    assert "Debian 12" in found.hint
