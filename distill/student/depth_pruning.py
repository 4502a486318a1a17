"""Depth pruning by block influence (ShortGPT, arXiv:2403.03853): drop the layers that change their input least.

    influence of a layer = 1 − mean cosine(hidden state before it, hidden state after it)

Measured on training packs, never on held-out ones. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from distill.packing.packing import Pack
from distill.student.hooked_run import CurrentPack, run_hooked
from runtime.errors import UsageError


def block_influence(model: Any, packs: Sequence[Pack], *, precision: str = "auto") -> list[float]:
    """Influence of each decoder layer, in [0, 2], averaged over all tokens of the packs."""
    layers = model.model.layers
    totals = [0.0] * len(layers)

    def hooks(current: CurrentPack) -> Iterator[Any]:
        def watch(position: int) -> Any:
            def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
                before = args[0] if args else kwargs["hidden_states"]
                after = output[0] if isinstance(output, tuple) else output
                # In f32: the cosine of nearly equal bf16 vectors is all rounding.
                cosine = torch.nn.functional.cosine_similarity(before.float(), after.float(), dim=-1)
                totals[position] += float((1 - cosine)[..., : current.tokens].sum())

            return hook

        return (layer.register_forward_hook(watch(i), with_kwargs=True) for i, layer in enumerate(layers))

    tokens = run_hooked(model, packs, hooks, precision=precision)
    return [total / max(tokens, 1) for total in totals]


def layers_to_keep(influence: Sequence[float], count: int) -> list[int]:
    """The `count` most influential layers, in their order; first and last always stay, as in the paper's findings."""
    if not 2 <= count <= len(influence):
        raise UsageError(
            f"a student of {count} layers from a teacher of {len(influence)}",
            where="student.layers",
            hint=f"between 2 and {len(influence)}",
        )
    inner = sorted(range(1, len(influence) - 1), key=lambda layer: -influence[layer])[: count - 2]
    return [0, *sorted(inner), len(influence) - 1]


def prune_depth(model: Any, keep: Sequence[int]) -> Any:
    """Cut the model in place to the kept layers and renumber what indexes the cache."""
    model.model.layers = torch.nn.ModuleList([model.model.layers[layer] for layer in keep])
    for index, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = index
    model.config.num_hidden_layers = len(keep)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[layer] for layer in keep]
    return model
