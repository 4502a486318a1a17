"""What a run needs to resume after a kill: the weights that learn, in safetensors, next to the Trainer's own state.

The Trainer writes `trainer_state.json` last, so a checkpoint without a readable one was cut off and does not count.
Knows nothing of losses and packs.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from distill.compute.distributed import is_main_process
from distill.compute.fsdp_checkpoint import full_weight, load_full_weight
from runtime.base.files import full_disk_is_an_error
from runtime.errors import IntegrityError

LEARNED = "learned.safetensors"
_TORN = ("PytorchStreamWriter failed", "inline_container.cc", "iostream error")
"""In what torch says when a file could not be written to its end; it keeps the reason to itself."""
STATE = "trainer_state.json"


@contextmanager
def require_disk_space(path: Path) -> Iterator[None]:
    """`SpaceError` for a disk that fills up while safetensors or torch write, who raise errors of their own."""
    with full_disk_is_an_error(path):
        try:
            yield
        except SafetensorError as error:
            if code := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(code[1]), str(error)) from error
            raise
        except RuntimeError as error:
            if any(sign in str(error) for sign in _TORN):
                raise OSError(errno.ENOSPC, str(error)) from error
            raise


def save_learned(model: Any, folder: Path) -> None:
    """Write the model's trainable weights; where they are shared out, all processes call it and one writes."""
    weights = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            whole = full_weight(weight)
            if is_main_process():
                weights[name] = whole.cpu().contiguous()
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / LEARNED)


def load_learned(model: Any, folder: Path) -> None:
    """Read them back into the model; `IntegrityError` when they are another model's."""
    weights = load_file(folder / LEARNED)
    own = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if {name: weight.shape for name, weight in own.items()} != {name: weight.shape for name, weight in weights.items()}:
        raise IntegrityError("a checkpoint of another model", where=str(folder), hint="delete it and train again")
    for name, weight in own.items():
        load_full_weight(weight, weights[name])


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run; None when there is none."""
    whole = [path for path in folder.glob("checkpoint-*") if _step(path) is not None]
    return max(whole, key=lambda path: _step(path) or 0, default=None)


def _step(checkpoint: Path) -> int | None:
    try:
        return int(json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["global_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
