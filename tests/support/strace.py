"""Faults put into single system calls of an installer by strace: a kill, a full disk, a failing disk.

One helper process holds the imported program and forks a child for every trial; strace attaches to the child before it
does anything. So a trial takes some 50 ms instead of a whole interpreter's start.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from runtime.base.child_process import child_environment, module_command

CALLS = (
    "fsync",
    "write",
    "mkdir",
    "rename",
    "unlink",
    "symlink",
    "link",
    "chmod",
    "unlinkat",
    "rmdir",
    "pwrite64",
    "ftruncate",
)
"""System calls that change what is on disk."""
DURABLE = ("write", "pwrite64", "fsync", "rename", "link", "symlink", "unlink", "unlinkat")
"""Those of which F1 names each: every write, fsync and rename, and what makes or takes a name."""

_HELPER = """
import ctypes, os, sys
from pathlib import Path
from runtime.bundle.generations import clean_up, install, installing, rollback
from runtime.bundle.sources import FolderSource
from runtime.bundle.updater import update
from runtime.errors import EdgedeskError

def clean(source, home):
    with installing(home):
        clean_up(home, keep=2)

ACTS = {
    "install": install,
    "rollback": lambda source, home: rollback(home),
    "update": lambda source, home: update(FolderSource(source), home, lambda bundle: ""),
    "return": lambda source, home: update(FolderSource(source), home, lambda bundle: "it is slow"),
    "clean": clean,
}

while line := sys.stdin.readline():
    act, bundle, home = line.rstrip("\\n").split("\\t")
    go, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: whoever attaches may
        os.close(tell)
        print(os.getpid(), flush=True)
        os.read(go, 1)
        try:
            ACTS[act](Path(bundle), Path(home))
            os._exit(0)
        except EdgedeskError as error:
            os._exit(int(error.exit_code))
        except BaseException:
            os._exit(99)
    os.close(go)
    sys.stdin.readline()
    os.write(tell, b"x")
    os.close(tell)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@dataclass(frozen=True)
class Point:
    """The `nth` call of a kind that a command makes."""

    call: str
    nth: int


class FaultyInstaller:
    """Runs a command with a fault at one point; to be used as a context."""

    def __enter__(self) -> FaultyInstaller:
        self._helper = subprocess.Popen(
            [*module_command("runtime")[:2], "-c", _HELPER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment(OMP_NUM_THREADS="1"),
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._helper.stdin
        self._helper.stdin.close()
        self._helper.wait(timeout=30)
        assert self._helper.stdout
        self._helper.stdout.close()

    def run(self, act: str, bundle: Path, home: Path, *options: str) -> int:
        """Exit code, or minus the signal; `options` are strace's."""
        helper = self._helper
        assert helper.stdin
        assert helper.stdout
        print(act, bundle, home, sep="\t", file=helper.stdin, flush=True)
        pid = helper.stdout.readline().strip()
        calls = [] if any(option.startswith("trace=") for option in options) else ["-e", f"trace={','.join(CALLS)}"]
        command = ["strace", "-p", pid, *calls, *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr
            said = strace.stderr.readline()
            assert "attached" in said, said
            print("go", file=helper.stdin, flush=True)
            status = int(helper.stdout.readline())
            strace.stderr.read()
        return -(status & 0x7F) if status & 0x7F else status >> 8

    def points(self, act: str, bundle: Path, home: Path, log: Path) -> list[Point]:
        """Every point of a run without a fault, in the order of the calls within each kind."""
        assert self.run(act, bundle, home, "-o", str(log)) == 0
        counts = Counter(re.findall(r"^(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
        return [Point(call, nth) for call in CALLS for nth in range(1, counts[call] + 1)]


@contextmanager
def copied(template: Path, to: Path) -> Iterator[Path]:
    """A copy of a home for one trial, links kept."""
    shutil.copytree(template, to, symlinks=True)
    try:
        yield to
    finally:
        shutil.rmtree(to)


def spread(points: list[Point], most: int) -> list[Point]:
    """At most so many points, evenly spread over all kinds of calls."""
    if len(points) <= most:
        return points
    step = len(points) / most
    return [points[int(number * step)] for number in range(most)]
