"""The reference of the commands, and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


def test_reference_says_what_help_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/cli_reference.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert page == done.stdout, "run: python docs/cli_reference.py > docs/reference/cli.md"


@pytest.mark.parametrize(
    ("words", "place", "offered"),
    [
        ("edgedesk ins", 1, ["install"]),
        ("edgedesk ", 1, ["build", "ask", "console"]),
        ("edgedesk journal pr", 2, ["prune"]),
        ("edgedesk ask --ho", 2, ["--home"]),
    ],
)
def test_shell_completes_commands_and_options(words: str, place: int, offered: list[str]) -> None:
    env = {**os.environ, "_EDGEDESK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    program = "import sys; sys.argv = ['edgedesk']; import edgedesk; edgedesk.app(prog_name='edgedesk')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env={**env, "PYTHONPATH": str(ROOT)}
    )
    found = done.stdout.split()
    assert set(offered) <= set(found), done.stderr
