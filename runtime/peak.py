"""The most memory this process held since a mark, children included; Linux only, elsewhere the figure is 0."""

from __future__ import annotations

import resource
from pathlib import Path

_CLEAR_PEAK = "5"
"""proc(5): writing 5 to clear_refs resets VmHWM."""


def mark() -> int:
    """Forget the peak so far; returns what `since` needs."""
    try:
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)
    except OSError:
        return 0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def since(children_before: int) -> int:
    """Peak resident MB since `mark`. A child counts beside this process only if it set a new record among children."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + (children if children > children_before else 0)) // 1024
