"""Starts a module of this project in a process of its own.

Promises: the child imports this project and the installed libraries, never what lies in the folder it is started in. A
folder that others may write, such as a share or a stick, must not decide which code runs. Work that may abort, fill the
memory or print as it likes is done by `run_child`: nothing of it reaches the terminal, its last words come back in the
error, and Ctrl-C ends it too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import runtime
from runtime.base.files import need_space
from runtime.errors import ModelError

_LONGEST_S = 4 * 3600
_ALMOST_FULL_BYTES = 32 * 1024 * 1024
"""When the child fails with less than this left, the disk is why; native libraries only say that a stream failed."""
_ROOT = str(Path(runtime.__file__).resolve().parents[1])


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `python -m module arguments` without the current folder on its search path (`-P`)."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(**settings: str) -> dict[str, str]:
    """This process's environment and `settings`; the project is first on the child's search path.

    Relative entries of PYTHONPATH, the empty one among them, are dropped: they mean the current folder.
    """
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [_ROOT, *(path for path in inherited if Path(path).is_absolute() and path != _ROOT)]
    return {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def run_child(module: str, arguments: Sequence[str], *, what: str, where: Path, out: Path, threads: int) -> str:
    """Run `python -m module arguments` and return what it printed.

    `ModelError` with its last words when it fails, `SpaceError` when the disk of `out` is full by then.
    """
    environment = child_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", OMP_NUM_THREADS=str(threads))
    done = subprocess.run(
        module_command(module, *arguments),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_LONGEST_S,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    log = done.stdout + done.stderr
    if done.returncode != 0:
        need_space(out.parent, _ALMOST_FULL_BYTES, f"the rest of {out.name}")
        raise ModelError(f"{what} failed (exit code {done.returncode})", where=str(where), hint=last_words(log))
    return log


def last_words(log: str) -> str:
    """The last lines of a log, for an error's hint."""
    return " / ".join(line.strip() for line in log.strip().splitlines()[-3:])
