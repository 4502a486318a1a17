"""What holds of the project as a whole: who imports whom, what a command loads before it works, how errors look."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import errors
from runtime.errors import EdgedeskError, ExitCode
from tests.support.paths import ROOT

HEAVY = {"torch", "transformers", "llama_cpp", "onnxruntime", "chromadb", "textual", "fastapi", "datasets", "numpy"}


def run(*command: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, **kwargs)  # type: ignore[call-overload, no-any-return]


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('modules:', *{{name.split('.')[0] for name in sys.modules}})"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("modules:")[1].split())


def test_imports_run_one_way() -> None:
    done = run(str(Path(sys.executable).parent / "lint-imports"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", ["runtime", "distill", "quantize", "tui"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert not loaded_by(f"import {package}") & HEAVY


def test_help_loads_no_command() -> None:
    loaded = loaded_by("import edgedesk; edgedesk.app(['--help'], standalone_mode=False)")
    assert not loaded & (HEAVY | {"rich", "pydantic", "distill", "quantize", "tui"})


def test_every_command_has_help_with_an_example() -> None:
    import edgedesk

    for name in edgedesk.COMMANDS:
        done = run(sys.executable, "edgedesk.py", name, "--help")
        assert done.returncode == 0, done.stderr
        assert "Example: edgedesk " in " ".join(done.stdout.split()), name


def test_a_branch_never_reaches_for_torch() -> None:
    runtime_files = [*ROOT.glob("runtime/**/*.py"), *ROOT.glob("tui/**/*.py")]
    for path in runtime_files:
        found = re.search(r"^\s*(?:import|from) (torch|transformers|optimum|peft|datasets)\b", path.read_text(), re.M)
        assert not found, f"{path} imports {found and found[1]}"


def test_every_error_has_its_own_exit_code() -> None:
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EdgedeskError)]
    codes = [kind.exit_code for kind in tree]
    assert len(set(codes)) == len(codes) == len(ExitCode) - 2  # OK and INTERRUPTED are no errors


def test_the_exit_codes_are_documented() -> None:
    text = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    for code in ExitCode:
        assert f"| {int(code)} | {code.name} |" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["build", "nowhere.toml"], ExitCode.MISSING, "no such file"),
        (["build", "README.md"], ExitCode.USAGE, "not TOML"),
        (
            ["build", "recipes/demo.toml", "--base", "no-such-model", "--work", "{tmp}/w"],
            ExitCode.MISSING,
            "no base model",
        ),
        (["install", "{tmp}"], ExitCode.MISSING, "manifest.json"),
        (["ask", "hello", "--home", "{tmp}/home"], ExitCode.MISSING, "edgedesk install"),
        (["models", "fetch", "no-such-model"], ExitCode.MISSING, "one of"),
        (["data", "prepare", "{tmp}/none.csv", "--out", "{tmp}/records"], ExitCode.MISSING, "no such file"),
        (["frobnicate"], ExitCode.USAGE, "frobnicate"),
    ],
)
def test_bad_input_is_an_error_with_a_hint_and_no_traceback(
    arguments: list[str], code: ExitCode, said: str, tmp_path: Path
) -> None:
    done = run(sys.executable, "edgedesk.py", *(word.format(tmp=tmp_path) for word in arguments))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
