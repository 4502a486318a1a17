"""How a model of transformers reads a pack: its inputs, its last hidden states, and the states that predict replies.

Logits are computed a few positions at a time: over a full vocabulary they are the largest tensors of a step. Knows
nothing of what is learned from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from distill.packing.packing import Pack

CHUNK = 128
"""Positions whose full-vocabulary logits are in memory at once."""
ROUND = 128


@dataclass(frozen=True)
class PackInputs:
    """A pack as a model takes it: a batch of one, its length rounded up to `ROUND`.

    oneDNN compiles and keeps kernels for every length it meets, gigabytes of them over a few hundred packs.
    """

    ids: torch.Tensor
    """int64 [1, length]"""
    mask: torch.Tensor
    """bool [1, 1, query, key], True = may attend; what fills the pack up sees itself, or it would be NaN."""
    positions: torch.Tensor
    """int64 [1, length]"""


def make_inputs(pack: Pack) -> PackInputs:
    """A pack's tokens, mask and positions, each branch blind to the others."""
    read = pack.read()
    count = len(read)
    extra = -count % ROUND
    mask = torch.eye(count + extra, dtype=torch.bool)[None, None]
    mask[..., :count, :count] = pack.attention()
    ids = torch.tensor([[*read, *[0] * extra]])
    return PackInputs(ids, mask, torch.tensor([[*pack.positions(), *[0] * extra]]))


def forward(model: Any, pack: Pack) -> torch.Tensor:
    """Last hidden states [token, hidden] of a pack."""
    given, device = make_inputs(pack), model.device
    out = model.model(
        input_ids=given.ids.to(device),
        attention_mask=given.mask.to(device),
        position_ids=given.positions.to(device),
        use_cache=False,
    )
    hidden: torch.Tensor = out.last_hidden_state[0, : len(pack.tokens)]
    return hidden


def chunks(states: torch.Tensor, index: Sequence[int], size: int = CHUNK) -> list[tuple[int, torch.Tensor]]:
    """The states at some positions, as (number of the first, states [size, hidden]).

    The last chunk is filled up by repeating, since oneDNN keeps kernels for every length it meets; take
    `[: len(index) - first]` of what is computed from it.
    """
    chosen = states[[*index, *[index[-1]] * (-len(index) % size)]]
    return [(start, chosen[start : start + size]) for start in range(0, len(chosen), size)]


def target_states(model: Any, pack: Pack, size: int = CHUNK) -> list[tuple[int, torch.Tensor]]:
    """Hidden states from which a pack's reply tokens are predicted, in `chunks`."""
    return chunks(forward(model, pack), pack.reply_targets(), size)
