"""A student sharded over the processes that train it, for one that does not fit on one card.

Each process keeps its share of every weight, gradient and optimizer state, and gathers a layer only while it computes
with it (fully sharded data parallel: ZeRO, arXiv:1910.02054; torch's `fully_shard`). The result is that of processes
which each hold the whole student. Every function here but `unwrap` is called by all processes together.
Knows nothing of losses and packs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from distill.compute import distributed


def shard_model(model: Any, around: Callable[[Any], Any]) -> Any:
    """`around` the same model with this process's share of its weights; `model` is left without any until `gather`.

    `around` gives the module whose `forward` is called in training, and through it the model's parts.
    """
    weights = list(model.parameters())
    # The copy has modules of its own, whose hooks come and go with it, and the weights themselves.
    shared = copy.deepcopy(model, {id(weight): weight for weight in weights})
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (distributed.world_size(),))
    whole = around(shared)
    for layer in unwrap(shared).model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(whole, mesh=mesh)
    for weight in weights:
        weight.data = weight.data.new_empty(0)
    return whole


def gather(shared: Any, model: Any) -> None:
    """Give `model` its weights back as they are now, in the main process; those of the others stay empty."""
    own = dict(model.named_parameters())
    for name, weight in shared.named_parameters():
        whole = full_weight(weight)
        if distributed.is_main_process():
            own[name].data = whole.to("cpu")


def full_weight(weight: torch.Tensor) -> torch.Tensor:
    """A weight in full: itself, or the shards of all processes put together."""
    put_together = getattr(weight, "full_tensor", None)
    return weight.detach() if put_together is None else put_together().detach()


def load_full_weight(weight: torch.Tensor, whole: torch.Tensor) -> None:
    """Overwrite a weight, or this process's shard of it, with the full weight."""
    with torch.no_grad():
        if isinstance(weight, DTensor):
            # Every process has the whole and cuts its own share out of it.
            whole = distribute_tensor(
                whole.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
            )
        weight.copy_(whole)


def save_optimizer(model: Any, optimizer: Any, path: Path) -> None:
    """Write the optimizer's full state, by the names of the weights, so that any number of processes can read it."""
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_optimizer_state_dict(model, optimizer, options=whole)
    if distributed.is_main_process():
        torch.save(state, path)


def load_optimizer(model: Any, optimizer: Any, path: Path) -> None:
    """Read the optimizer's state and keep this process's shard."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    set_optimizer_state_dict(model, optimizer, state, options=StateDictOptions(full_state_dict=True))


def unwrap(model: Any) -> Any:
    """The causal language model itself, in adapters or not."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
