"""A mapped file's pages that are read already: given back to the kernel, which keeps them as file cache.

llama.cpp copies most weights into an order its kernels like better and leaves the file mapped beside them, so a model
takes up to twice its size of a process's memory. Given back, what was not copied returns from the cache when used.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

_DONTNEED = 4
"""MADV_DONTNEED of a file mapping: its pages leave the process; a later read maps them again."""


def release_mapped_pages(path: Path) -> int:
    """Give back this process's pages of a file that is mapped for reading; returns how many bytes are mapped."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    name, mapped = str(path.resolve()), 0
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or fields[5] != name or "w" in fields[1]:
            continue
        start, end = (int(part, 16) for part in fields[0].split("-"))
        if libc.madvise(start, end - start, _DONTNEED) == 0:
            mapped += end - start
    return mapped
