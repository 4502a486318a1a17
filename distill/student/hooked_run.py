"""Reads packs with hooks on a model's layers: what both kinds of pruning measure with.

Promises: the hooks are gone afterwards, also after an error. Knows nothing of what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from distill.compute.device import autocast
from distill.packing.forward import forward
from distill.packing.packing import Pack


@dataclass
class CurrentPack:
    """The pack that is being read; what follows its own tokens in a batch only fills up its length."""

    tokens: int = 0


def run_hooked(
    model: Any, packs: Sequence[Pack], hooks: Callable[[CurrentPack], Iterable[Any]], *, precision: str = "auto"
) -> int:
    """Run the packs through the model; returns how many tokens were read.

    `hooks(current)` registers hooks and gives their handles; they look at `current` to skip padding.
    """
    current = CurrentPack()
    handles = list(hooks(current))
    total = 0
    try:
        with torch.no_grad(), autocast(precision):
            for pack in packs:
                current.tokens = len(pack.tokens)
                forward(model, pack)
                total += current.tokens
    finally:
        for handle in handles:
            handle.remove()
    return total
