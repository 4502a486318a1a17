"""The wheel a branch installs: whole, and enough by itself with no more than the dependencies it declares."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PACKAGES = ("distill", "quantize", "runtime", "tui")
PYTHON = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def run(*words: object, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "EDGEDESK", "VIRTUAL"))}
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**env, **settings},
        check=False,
    )


def modules() -> list[str]:
    """Modules beside the packages."""
    return sorted(path.name for path in ROOT.glob("*.py"))


def tracked_files() -> list[str]:
    """Files that belong to the project: git's where this is a checkout, else what lies there."""
    names = (*modules(), "pyproject.toml", "README.md", *PACKAGES)
    # Files that git does not know yet belong to it as well, else a test of an uncommitted change would lack them.
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *names, cwd=ROOT)
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    found = [
        path for name in names for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
    ]
    return [path.relative_to(ROOT).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts]


def required_distributions(texts: Iterable[str], extras: Iterable[str] = ()) -> dict[str, Distribution]:
    """The installed distributions that these requirements and theirs need on this machine, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting = [(text, tuple(extras)) for text in texts]
    done = set()
    while waiting:
        text, extras = waiting.pop()
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        key = (canonicalize_name(wanted.name), tuple(sorted(wanted.extras)))
        if key not in done:
            done.add(key)
            found[key[0]] = distribution(key[0])
            waiting += [(needed, key[1]) for needed in found[key[0]].requires or ()]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: building writes `build/` and `*.egg-info` where it runs."""
    source, out = tmp_path_factory.mktemp("wheel source"), tmp_path_factory.mktemp("wheel")
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    # Without isolation: nothing is fetched; setuptools is the one of this environment, which the lock pins.
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-build-isolation", "--no-deps")
    done = run(*pip, "--no-index", "--verbose", "--wheel-dir", out, source, cwd=out, PIP_FIND_LINKS="")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert not [line for line in said.splitlines() if "warning" in line.lower() or "deprecat" in line.lower()]
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and links to its declared dependencies: no build extras, no checkout."""
    folder = tmp_path_factory.mktemp("branch machine") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    done = run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder, PIP_FIND_LINKS="")
    assert done.returncode == 0, done.stderr
    site = folder / PYTHON
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    for found in required_distributions(declared).values():
        for name in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / name).exists():
                (site / name).symlink_to(Path(str(found.locate_file(name))))
    return folder


def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py") or name.startswith(PACKAGES)}
    own = {name for name in tracked_files() if name.startswith(tuple(f"{one}/" for one in PACKAGES))}
    assert held == own | set(modules())
    assert {Path(name).suffix for name in own} >= {".py", ".tcss", ".json", ".html"}


def test_wheel_needs_nothing_of_the_build_extras(installed: Path) -> None:
    for name in ("torch", "transformers", "optimum", "gguf", "peft", "pytest", "setuptools"):
        assert not (installed / PYTHON / name).exists(), name


def test_wheel_runs_a_branch_outside_the_checkout(
    installed: Path, make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path
) -> None:
    bundle = (make_home(scripted_gguf) / "current").resolve()
    home, elsewhere = tmp_path / "new home", tmp_path / "else where"
    elsewhere.mkdir()
    program = installed / "bin" / "edgedesk"

    def edgedesk(*words: object, code: int = 0) -> str:
        done = run(program, *words, cwd=elsewhere, EDGEDESK_HOME=str(home), EDGEDESK_THREADS="1")
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (words, done.returncode, done.stderr)
        return done.stdout

    where = run(installed / "bin" / "python", "-c", "import runtime; print(runtime.__file__)", cwd=elsewhere)
    assert Path(where.stdout.strip()).is_relative_to(installed)
    assert "build" in edgedesk("--help")
    edgedesk("doctor", code=1)
    edgedesk("install", bundle)
    answer = json.loads(edgedesk("ask", "How long can I return an item after delivery?", "--json").splitlines()[-1])
    assert answer["answer"]
    said = edgedesk("doctor")
    assert "ok   model: " in said
    assert list(elsewhere.iterdir()) == []


def test_wheel_imports_every_module_of_a_branch(installed: Path, tmp_path: Path) -> None:
    code = """
import importlib, pkgutil, sys
names = ["edgedesk"]
for name in ("runtime", "tui"):
    package = importlib.import_module(name)
    names += [found.name for found in pkgutil.walk_packages(package.__path__, f"{name}.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    done = run(installed / "bin" / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
