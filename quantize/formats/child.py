"""Work that may abort the process, fill its memory or print as it likes: done in a child process.

llama.cpp aborts on an assertion; exporters print, warn and keep gigabytes. Promises: nothing reaches the terminal, the
child's last words come back in the error, Ctrl-C ends the child too. Knows nothing of the work.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from runtime.base.child_process import child_environment, module_command
from runtime.base.files import need_space
from runtime.errors import ModelError

_LONGEST_S = 4 * 3600
_ALMOST_FULL_BYTES = 32 * 1024 * 1024
"""When the child fails with less than this left, the disk is why; native libraries only say that a stream failed."""


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
