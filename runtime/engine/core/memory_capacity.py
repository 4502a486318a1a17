"""What a model's context takes and what the machine has for it: as many slots as fit, or a refusal with figures.

Promises: a limit of the cgroup (container, systemd) counts like the machine's own. `fit_slots` is pure; the rest reads
/proc and /sys. Knows nothing of llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import EdgedeskError, ModelError

RESERVE_BYTES = 192 << 20
"""For the process itself: Python, libraries, and what llama.cpp keeps in addition."""
_UNLIMITED = 1 << 60
"""A version 1 cgroup without a limit reports a number near 2^63."""


@dataclass(frozen=True)
class MemoryNeeds:
    """What a model takes, in bytes."""

    weights: int
    per_token: int
    """Keys and values of one token."""
    buffers: int
    """What computing a batch takes."""


def fit_slots(needs: MemoryNeeds, *, context_tokens: int, slots: int, available: int, where: str) -> int:
    """How many of the `slots` fit; `ModelError` with the figures when not even one does."""
    fixed = needs.weights + needs.buffers + RESERVE_BYTES
    slot = max(1, context_tokens * needs.per_token)
    fitting = min(slots, (available - fixed) // slot)
    if fitting < 1:
        raise ModelError(
            f"the model needs {(fixed + slot) / 1e9:.2f} GB for one context of {context_tokens:,} tokens, and "
            f"{max(0, available) / 1e9:.2f} GB can be had",
            where=where,
            hint='close other programs, raise the memory limit, set kv_type = "q8_0", or install a smaller bundle',
        )
    return int(fitting)


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that this process may still take without swapping, its cgroup's limits considered."""
    free = available_memory((proc / "meminfo").read_text())
    return min([free, *_cgroup_room(proc / "self" / "cgroup", cgroups)])


def available_memory(meminfo: str) -> int:
    """Bytes that can be had without swapping, from the text of /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise EdgedeskError("the kernel does not say how much memory is free", where="/proc/meminfo")


def _cgroup_room(own: Path, cgroups: Path) -> list[int]:
    """What each limit above this process leaves; file cache that can be given up counts as room."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    rooms = []
    for _, controllers, name in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers == "":
            top, limit, used, cache = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, used = cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        folder = top / name.lstrip("/")
        # Inside a container the path is the host's, and the container's own group is at the top.
        for group in [folder, *folder.parents]:
            if (room := _room(group / limit, group / used, group / "memory.stat", cache)) is not None:
                rooms.append(room)
            if group == top:
                break
    return rooms


def _room(limit: Path, used: Path, stat: Path, cache: str) -> int | None:
    try:
        most, now = int(limit.read_text()), int(used.read_text())
        rows = (line.split() for line in stat.read_text().splitlines())
        reclaimable = next((int(row[1]) for row in rows if row and row[0] == cache), 0)
    except (OSError, ValueError):
        return None  # no such group, or no limit ("max")
    return None if most >= _UNLIMITED else most - now + reclaimable
