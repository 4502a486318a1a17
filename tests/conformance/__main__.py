"""Runs the public conformance suite of The Update Framework against Edgedesk's updater.

    python -m tests.conformance FOLDER [words for pytest]

FOLDER is a checkout of https://github.com/theupdateframework/tuf-conformance, which is not on PyPI. The suite runs with
this environment's pytest and python-tuf; nothing is installed and nothing of the suite is copied. It needs `faketime`
(apt-get install faketime): tests of expiry fail without it. Prints pytest's own report; its exit code is pytest's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXPECTED_FAILURES = HERE / "expected_failures.txt"


def run(suite: Path, words: list[str]) -> int:
    """Run the suite that lies in a folder; pytest's exit code."""
    if not (suite / "tuf_conformance" / "conftest.py").is_file():
        sys.stderr.write(f"error: {suite} is no checkout of tuf-conformance\n")
        return 2
    if shutil.which("faketime") is None:
        sys.stderr.write("error: faketime is missing; apt-get install faketime\n")
        return 5
    # The suite splits its client's command at spaces, and a checkout may lie in a folder with one.
    with tempfile.TemporaryDirectory(prefix="edgedesk-conformance-", dir="/tmp") as scratch:
        client = Path(scratch) / "client"
        python, script = shlex.quote(sys.executable), shlex.quote(str(HERE / "client.py"))
        client.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {python} {script} "$@"\n')
        client.chmod(0o755)
        shutil.copyfile(EXPECTED_FAILURES, f"{client}.xfails")
        command = [
            sys.executable, "-m", "pytest", str(suite / "tuf_conformance"), f"--entrypoint={client}",
            "--rootdir", str(suite), "-c", str(suite / "pyproject.toml"), "-p", "no:cacheprovider", "-q", "-rxX",
            *words,
        ]  # fmt: skip
        # PYTHONDONTWRITEBYTECODE: the checkout stays as it is.
        environment = {**os.environ, "PYTHONPATH": str(suite), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, env=environment, cwd=suite, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.stderr.write(__doc__ or "")
        sys.exit(2)
    sys.exit(run(Path(sys.argv[1]).resolve(), sys.argv[2:]))
