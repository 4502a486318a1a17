"""How many processes train together, and which of them prints and writes.

torchrun and accelerate number their processes by environment variables; alone, there is one, the main process.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.base import progress

SHARD = "EDGEDESK_SHARD"
"""Set for processes that shard the student."""
LET_GO_S = 0.5
"""Time for a thread of torch's to release its tensors, with room to spare."""


def world_size() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process measures, writes and prints for all."""
    return os.environ.get("RANK", "0") == "0"


def is_sharded() -> bool:
    """Whether each process holds a shard of the student only (`distill.compute.fsdp_checkpoint`)."""
    return world_size() > 1 and bool(os.environ.get(SHARD))


def leave_group() -> None:
    """Leave the group once all processes are done: one that ends while another still listens makes that one abort."""
    import torch.distributed as group

    if world_size() > 1 and group.is_initialized():
        gc.collect()
        group.barrier()
        # After the barrier, torch's communication thread still releases tensors and needs the interpreter lock for it,
        # while destroying the group holds that lock and waits for the thread: a deadlock that was seen.
        time.sleep(LET_GO_S)
        group.destroy_process_group()


@contextmanager
def bar(what: str, total: float, *, unit: str = "") -> Iterator[progress.Advance]:
    """`runtime.base.progress.bar`, shown by the main process only."""
    if not is_main_process():
        yield lambda _amount: None
        return
    with progress.bar(what, total, unit=unit) as advance:
        yield advance
