"""Branches that install.sh made, entered without any network device: folders of this machine, or a bare root.

Both know the same words, so that what a branch lives through is told once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.app_folder import without_network
from tests.support.bare_root import BareRoot

NETLESS = without_network()
needs_namespaces = pytest.mark.skipif(not NETLESS, reason="namespaces are not allowed here (unshare)")


class Machine(Protocol):
    """A branch's machine, and what is typed there."""

    home: Path
    """The branch's folder, seen from outside."""
    stick: str
    """Where the release lies, seen from inside."""
    outbox: Path
    """A file to export to, in the branch's folder, seen from inside."""

    def install_release(self, root: Path) -> str:
        """Run install.sh from the stick with the company's root.json; what it said."""

    def edgedesk(self, *words: str, code: int = 0) -> str:
        """Run a command, expect this exit code; what it printed on stdout, or for an error on stderr."""

    def words(self, *words: str) -> list[str]:
        """The command line, run from outside, of a command inside."""


class Branch:
    """A branch in folders of this machine."""

    def __init__(self, folder: Path, release: Path, prefix: Path | None = None) -> None:
        self.prefix, self.home, self.bin = prefix or folder / "prefix", folder / "home", folder / "bin"
        self.release = release
        self.stick = str(release)
        self.outbox = self.home / "out.jsonl"

    def command(self, *words: str) -> list[str]:
        places = ["--prefix", str(self.prefix), "--home", str(self.home), "--bin", str(self.bin)]
        account = ["--run-as", "root"] if os.geteuid() == 0 else []
        return [
            "sh", str(self.release / "install.sh"), *places, *account,
            "--no-service", "--python", sys.executable, *words,
        ]  # fmt: skip

    def environment(self, **more: str) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        return {
            **kept,
            "OMP_NUM_THREADS": "1",
            "PIP_INDEX_URL": "http://127.0.0.1:9/",
            "PYTHONPATH": "/nowhere",
            **more,
        }

    def install(self, *words: str, code: int = 0, before: str = "", **env: str) -> str:
        """Run install.sh without a network, expect this exit code, return what it said."""
        command = self.command(*words)
        if before:
            command = ["sh", "-c", f'{before}; exec "$@"', "sh", *command]
        done = subprocess.run(
            [*NETLESS, *command], capture_output=True, text=True, env=self.environment(**env),
            stdin=subprocess.DEVNULL, cwd=self.release, timeout=600, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (done.returncode, done.stderr)
        return done.stderr

    def install_release(self, root: Path) -> str:
        return self.install("--root", str(root))

    def words(self, *words: str) -> list[str]:
        setting = [f"{name}={value}" for name, value in self._settings().items()]
        return ["env", "--unset=PYTHONPATH", *setting, *NETLESS, str(self.bin / "edgedesk"), *words]

    def edgedesk(self, *words: str, code: int = 0) -> str:
        return run([*NETLESS, str(self.bin / "edgedesk"), *words], self.environment(**self._settings()), code)

    def _settings(self) -> dict[str, str]:
        return {"EDGEDESK_HOME": str(self.home), "EDGEDESK_THREADS": "1"}


class BareBranch:
    """A branch of the machine in a bare root: the account `edgedesk`, the folders of a real installation."""

    stick = "/media/stick"
    outbox = Path("/var/lib/edgedesk/out.jsonl")

    def __init__(self, root: BareRoot) -> None:
        self.root, self.home = root, root.folder / "var/lib/edgedesk"

    def install_release(self, root: Path) -> str:
        # Where branch IT has it: in its own folder, which no other account may enter.
        shutil.copyfile(root, self.root.folder / "root/root.json")
        (self.root.folder / "root").chmod(0o700)
        return self.root.run(f"sh {self.stick}/install.sh --root /root/root.json")

    def words(self, *words: str) -> list[str]:
        script = f"cd /; export HOME=/var/lib/edgedesk EDGEDESK_HOME=/var/lib/edgedesk; edgedesk {shlex.join(words)}"
        return self.root.command(script, user="edgedesk")

    def edgedesk(self, *words: str, code: int = 0) -> str:
        return run(self.words(*words), self.root.environment("edgedesk"), code)


def run(command: list[str], env: dict[str, str], code: int = 0, timeout: float = 900) -> str:
    """Run a command, expect this exit code; its stdout, or its stderr where it failed as expected."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=env, cwd="/", stdin=subprocess.DEVNULL, timeout=timeout,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stderr if code else done.stdout
