"""How many processes train together, and which of them speaks and writes.

torchrun and accelerate number their processes by environment variables; alone, there is one, which leads.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.base import progress

SHARD = "EDGEDESK_SHARD"
"""Set for processes that share the student out among them."""
LET_GO_S = 0.5
"""What a thread of torch's needs to let go of what it passed on, with room to spare."""


def world_size() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this one measures, writes and speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def shard() -> bool:
    """Whether each of them holds a share of the student only (`distill.compute.fsdp_checkpoint`)."""
    return world_size() > 1 and bool(os.environ.get(SHARD))


def part() -> None:
    """Leave the others once all are done: whoever ends while another still listens makes that one abort."""
    import torch.distributed as group

    if world_size() > 1 and group.is_initialized():
        gc.collect()
        group.barrier()
        # The thread that met the others lets go of tensors afterwards and needs the interpreter for it; taking the
        # group down waits for that thread and holds the interpreter. Both waiting for each other was seen.
        time.sleep(LET_GO_S)
        group.destroy_process_group()


@contextmanager
def bar(what: str, total: float, *, unit: str = "") -> Iterator[progress.Advance]:
    """`runtime.base.progress.bar`, of the process that leads."""
    if not is_main_process():
        yield lambda _amount: None
        return
    with progress.bar(what, total, unit=unit) as advance:
        yield advance
