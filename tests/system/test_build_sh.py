"""build.sh on machines that lack something: it says what, and how to get it, before it touches anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TOOLS = ("bash", "dirname", "cat", "awk", "sha256sum", "cut", "df", "sed", "grep", "nproc")


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """A project folder with a space in its name, and a PATH with the least a shell needs."""
    project, programs = tmp_path / "a project", tmp_path / "bin"
    project.mkdir()
    programs.mkdir()
    for name in ("build.sh", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, project / name)
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (programs / name).symlink_to(found)
    return project, programs


def run(machine: tuple[Path, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    project, programs = machine
    return subprocess.run(
        [str(programs / "bash"), str(project / "build.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": str(programs), "HOME": str(project)},
        check=False,
    )


def script(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(0o755)


def test_without_python_it_names_the_packages(machine: tuple[Path, Path]) -> None:
    done = run(machine, "setup")
    assert done.returncode == 5
    assert "no Python 3.11" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_without_a_compiler_it_names_the_package(machine: tuple[Path, Path]) -> None:
    (machine[1] / "python3").symlink_to(sys.executable)
    done = run(machine, "setup")
    assert done.returncode == 5
    assert "no C and C++ compiler" in done.stderr
    assert "build-essential" in done.stderr
    assert not (machine[0] / ".venv").exists()


def test_without_space_it_says_how_much_is_needed(machine: tuple[Path, Path]) -> None:
    (machine[1] / "python3").symlink_to(sys.executable)
    for name in ("cc", "c++"):
        script(machine[1] / name, "exit 0")
    script(machine[1] / "df", "echo header; echo '/dev/x 100 90 10 90% /'")
    done = run(machine, "setup")
    assert done.returncode == 4
    assert "10 MB of disk are free here" in done.stderr


def test_without_a_command_it_lists_them(machine: tuple[Path, Path]) -> None:
    done = run(machine)
    assert done.returncode == 2
    assert "./build.sh demo" in done.stdout
    assert "./build.sh test" in done.stdout
    assert "./build.sh clean" in done.stdout
    assert "set -e" not in done.stdout


def test_wheels_need_a_compiler_too(machine: tuple[Path, Path]) -> None:
    (machine[1] / "python3").symlink_to(sys.executable)
    done = run(machine, "wheels")
    assert done.returncode == 5
    assert "no C and C++ compiler" in done.stderr
    assert not (machine[0] / "dist").exists()
