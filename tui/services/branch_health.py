"""What a console can see of its branch without asking the server: an update under way, a newer bundle, a full disk.

Promises: looks only; takes no lock, so that nobody is kept from theirs. Knows nothing of widgets.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from runtime.client.answers import ServerStatus
from tui.state import Health

DISK_LOW_MB = 500
"""The agent is warned below this much free space. An answer takes kilobytes; a new bundle takes its own size."""


def branch_health(home: Path, status: ServerStatus, *, locks: Path = Path("/proc/locks")) -> Health:
    """How the branch is, beside the server's own word in `status`."""
    return Health(
        engine=status.engine in ("ready", None),
        updating=is_locked(home / "install.lock", locks),
        newer=_newer(home, status),
        disk_low_mb=_disk_low(home),
        waiting=status.waiting,
    )


def is_locked(path: Path, locks: Path = Path("/proc/locks")) -> bool:
    """Whether some process holds this lock file, as the kernel lists it; trying for it could keep an installer out."""
    try:
        about = path.stat()
        listed = locks.read_text()
    except OSError:
        return False
    major, minor = os.major(about.st_dev), os.minor(about.st_dev)
    name = f"{major:02x}:{minor:02x}:{about.st_ino}"
    return any("FLOCK" in line and name in line.split() for line in listed.splitlines() if "->" not in line)


def _newer(home: Path, status: ServerStatus) -> str:
    """The bundle that `current` leads to, where the server still runs another."""
    if not status.bundle:
        return ""
    with suppress(OSError, ValueError, KeyError):
        info = json.loads((home / "current" / "bundle.json").read_text(encoding="utf-8"))
        if (info["name"], info["version"]) != (status.bundle, status.version):
            return f"{info['name']} {info['version']}"
    return ""


def _disk_low(home: Path) -> int | None:
    with suppress(OSError):
        free = shutil.disk_usage(home).free // 1_000_000
        return free if free < DISK_LOW_MB else None
    return None
