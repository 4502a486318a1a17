"""Width pruning by activation (Minitron, arXiv:2407.14679): drop heads and feed-forward units that contribute least.

    importance of a unit of the feed-forward   mean |its activation at the down projection|
    importance of a group of heads             mean norm of their activations at the output projection

A group is one key-value head with the query heads that read it, so grouped-query attention stays whole. Every layer
loses the same number, its own least important ones; embeddings and norms keep their width, so what is left out can be
refitted (`distill.student.layer_refit`). Measured on training packs, never on held-out ones. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from distill.packing.packing import Pack
from distill.student.hooked_run import CurrentPack, run_hooked
from runtime.errors import UsageError


@dataclass(frozen=True)
class Importance:
    """How much the parts of every layer contribute."""

    heads: torch.Tensor
    """[layer, key-value head]"""
    units: torch.Tensor
    """[layer, feed-forward unit]"""


def activation_importance(model: Any, packs: Sequence[Pack], *, precision: str = "auto") -> Importance:
    """Run the packs through the model and average over their tokens."""
    layers, config = model.model.layers, model.config
    groups = config.num_key_value_heads
    heads = torch.zeros(len(layers), groups)
    units = torch.zeros(len(layers), config.intermediate_size)

    def hooks(current: CurrentPack) -> Iterator[Any]:
        def attended(index: int) -> Any:
            def hook(_module: Any, args: tuple[Any, ...]) -> None:
                own = args[0][0, : current.tokens].float()  # [token, query heads × head size]
                # The query heads of a group lie next to each other, so a group is one slice of the columns.
                heads[index] += own.view(current.tokens, groups, -1).norm(dim=-1).sum(0)

            return hook

        def fed(index: int) -> Any:
            def hook(_module: Any, args: tuple[Any, ...]) -> None:
                units[index] += args[0][0, : current.tokens].float().abs().sum(0)

            return hook

        for index, layer in enumerate(layers):
            yield layer.self_attn.o_proj.register_forward_pre_hook(attended(index))
            yield layer.mlp.down_proj.register_forward_pre_hook(fed(index))

    tokens = run_hooked(model, packs, hooks, precision=precision)
    return Importance(heads / max(tokens, 1), units / max(tokens, 1))


def prune_width(
    model: Any, importance: Importance, *, kv_heads: int | None = None, feed_forward: int | None = None
) -> Any:
    """Cut the model in place to `kv_heads` key-value heads and `feed_forward` units a layer; None keeps all of them.

    `UsageError` for more than the model has.
    """
    config = model.config
    have = {"kv_heads": config.num_key_value_heads, "feed_forward": config.intermediate_size}
    for name, wanted in (("kv_heads", kv_heads), ("feed_forward", feed_forward)):
        if wanted is not None and not 1 <= wanted <= have[name]:
            raise UsageError(
                f"{wanted} of a teacher's {have[name]}", where=f"student.{name}", hint=f"between 1 and {have[name]}"
            )
    queries = config.num_attention_heads // config.num_key_value_heads
    for index, layer in enumerate(model.model.layers):
        if kv_heads is not None:
            _keep_heads(layer.self_attn, _best(importance.heads[index], kv_heads), queries)
        if feed_forward is not None:
            _keep_units(layer.mlp, _best(importance.units[index], feed_forward))
    if kv_heads is not None:
        config.head_dim = model.model.layers[0].self_attn.head_dim  # no longer the width over the heads
        config.num_key_value_heads, config.num_attention_heads = kv_heads, kv_heads * queries
    if feed_forward is not None:
        config.intermediate_size = feed_forward
    return model


def _best(values: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the `count` largest values, in ascending order, so that what stays keeps its order."""
    return values.topk(count).indices.sort().values


def _keep_heads(attention: Any, groups: torch.Tensor, queries: int) -> None:
    """Keep groups of heads: rows of the three input projections, and the columns of the output that read them."""
    size = attention.head_dim
    keys = (groups[:, None] * size + torch.arange(size)).flatten()
    reads = (groups[:, None] * queries * size + torch.arange(queries * size)).flatten()
    _keep_rows(attention.q_proj, reads)
    _keep_rows(attention.k_proj, keys)
    _keep_rows(attention.v_proj, keys)
    _keep_columns(attention.o_proj, reads)


def _keep_units(mlp: Any, units: torch.Tensor) -> None:
    _keep_rows(mlp.gate_proj, units)
    _keep_rows(mlp.up_proj, units)
    _keep_columns(mlp.down_proj, units)
    mlp.intermediate_size = len(units)


def _keep_rows(linear: Any, rows: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(linear.weight.detach()[rows].clone())
    if linear.bias is not None:
        linear.bias = torch.nn.Parameter(linear.bias.detach()[rows].clone())
    linear.out_features = len(rows)


def _keep_columns(linear: Any, columns: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(linear.weight.detach()[:, columns].clone())
    linear.in_features = len(columns)
