"""Starts a module of this project in a process of its own.

Promises: the child imports this project and the installed libraries, never what lies in the folder it is started in. A
folder that others may write, such as a share or a stick, must not decide which code runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import runtime

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
