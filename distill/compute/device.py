"""How models are run on this machine: precision by measurement, since flags promise more than they keep; offline."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from runtime.errors import ModelError

_SIZE = 768
_ROUNDS = 6


@cache
def bf16_is_faster() -> bool:
    """Whether a bf16 matrix product beats f32 here by a fifth; takes about a tenth of a second."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())

    def seconds(dtype: torch.dtype) -> float:
        left, right = torch.ones(_SIZE, _SIZE, dtype=dtype), torch.ones(_SIZE, _SIZE, dtype=dtype)
        left @ right
        best = float("inf")
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            left @ right
            best = min(best, time.perf_counter() - started)
        return best

    return seconds(torch.bfloat16) * 1.2 < seconds(torch.float32)


def choose_device() -> str:
    """Where this process computes: its own GPU where there is one, else the CPU."""
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def autocast(precision: str) -> AbstractContextManager[object]:
    """The context to run a model in: `auto` (bf16 where faster), `bf16` or `f32`."""
    import torch

    if precision == "bf16" or (precision == "auto" and bf16_is_faster()):
        return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", dtype=torch.bfloat16)
    return nullcontext()


@contextmanager
def memory_is_an_error(what: str, hint: str) -> Iterator[None]:
    """Turn what Python and torch raise when memory runs out into a `ModelError`; everything else passes."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
            raise ModelError(f"out of memory {what}", hint=hint) from error
        raise


def go_offline() -> None:
    """No hub, no telemetry, no progress bars of libraries; to be called before torch and transformers are imported.

    What would send or fetch something is assigned, so that no environment turns it on: a build asks the hub only for a
    hub id that a recipe names (`distill.models.catalogue`). The rest are defaults that a user may change.
    """
    never = (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
    )
    # Downloads over Xet leave a cache and logs in ~/.cache/huggingface, over HTTP nothing outside their folder.
    os.environ.update(dict.fromkeys((*never, "HF_HUB_DISABLE_XET"), "1"))
    # OpenMP's threads sleep while they wait: spinning, two busy programs on two cores slow each other down threefold.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
