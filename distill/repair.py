"""Repair after pruning, in closed form: refit what each layer writes so that the student follows its teacher's states.

Teacher and student read the same packs in step. Behind a kept layer the student should hold what the teacher holds
before its next kept one, so the layer in front of a gap learns the work of the layers that are gone. First the
attention's output map, then the feed-forward's is moved by the D that solves

    min_D  Σ_t |h_t − s_t − D a_t|² / |h_t|²  +  λ|D|²

h_t teacher's state, s_t student's, a_t what goes into the map, over all tokens t of the packs; λ is `ridge` times the
mean diagonal of the normal equations. Front to back, each layer on the states that those before it give once refitted;
no gradients. ReplaceMe (arXiv:2505.02819) fits one map over a gap; fitting every layer also takes up the error that is
left. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.capture import Inputs, inputs
from distill.packs import Pack
from runtime.errors import UsageError

if TYPE_CHECKING:
    import torch

_SMALLEST_NORM = 1e-6


@dataclass
class _Stream:
    """One pack on its way through both models."""

    tokens: int
    given: Inputs
    rotary: Any
    teacher: torch.Tensor
    """[1, length, hidden]: states before the teacher's next layer."""
    student: torch.Tensor

    def target(self) -> torch.Tensor:
        """The teacher's states without what fills the pack up, [token, hidden]."""
        return self.teacher[0, : self.tokens]


def repair(
    student: Any,
    teacher: Any,
    keep: Sequence[int],
    packs: Sequence[Pack],
    *,
    ridge: float = 0.02,
    advance: Callable[[int], None] = lambda _tokens: None,
) -> list[float]:
    """Refit `student` in place; `keep` names the teacher's layers its own come from, in order.

    Returns the mean relative squared error of the states behind each layer. In f32: normal equations square the
    condition of the states. `advance` counts tokens times student layers. `UsageError` for a model whose layers have
    no `self_attn.o_proj` and `mlp.down_proj`.
    """
    import torch

    errors = []
    tokens = sum(len(pack.tokens) for pack in packs)
    with torch.no_grad():
        streams = [_stream(teacher, pack) for pack in packs]
        for index, layer in enumerate(student.model.layers):
            try:
                maps = (layer.self_attn.o_proj, layer.mlp.down_proj)
            except AttributeError:
                raise UsageError(
                    f"layers of {type(student).__name__} cannot be refitted", where="student", hint="repair_packs = 0"
                ) from None
            behind = keep[index + 1] if index + 1 < len(keep) else len(teacher.model.layers)
            for stream in streams:
                for position in range(keep[index], behind):
                    stream.teacher = _run(teacher.model.layers[position], stream, stream.teacher)
            for linear in maps:
                outs = _refit(layer, linear, streams, ridge)
            for stream, out in zip(streams, outs, strict=True):
                stream.student = out
            errors.append(sum(_error(stream) for stream in streams) / tokens)
            advance(tokens)
    return errors


def _refit(layer: Any, linear: Any, streams: Sequence[_Stream], ridge: float) -> list[torch.Tensor]:
    """Move one linear map of a layer to its least-squares fit.

    Returns the layer's outputs after the move, right for a map whose output is added to the layer's as it is.
    """
    import torch

    gram = torch.zeros(linear.in_features, linear.in_features)
    cross = torch.zeros(linear.in_features, linear.out_features)
    ran = []
    for stream in streams:
        fed: list[torch.Tensor] = []
        handle = linear.register_forward_pre_hook(lambda _module, args, fed=fed: fed.append(args[0]))
        try:
            out = _run(layer, stream, stream.student)
        finally:
            handle.remove()
        target = stream.target()
        scale = 1 / target.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
        scaled = fed[0][0, : stream.tokens] * scale
        gram += scaled.T @ scaled
        cross += scaled.T @ ((target - out[0, : stream.tokens]) * scale)
        ran.append((out, fed[0]))
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    move = torch.linalg.solve(gram, cross).T
    linear.weight += move
    return [out + fed @ move.T for out, fed in ran]


def _error(stream: _Stream) -> float:
    """Relative squared error of the student's states, added up over a pack's tokens."""
    target = stream.target()
    missed = (target - stream.student[0, : stream.tokens]).square().sum(-1)
    return float((missed / target.square().sum(-1).clamp_min(_SMALLEST_NORM**2)).sum())


def _stream(model: Any, pack: Pack) -> _Stream:
    given = inputs(pack)
    states = model.model.embed_tokens(given.ids)
    return _Stream(len(pack.tokens), given, model.model.rotary_emb(states, given.positions), states, states)


def _run(layer: Any, stream: _Stream, states: torch.Tensor) -> torch.Tensor:
    out = layer(
        states,
        attention_mask=stream.given.mask,
        position_ids=stream.given.positions,
        position_embeddings=stream.rotary,
    )
    whole: torch.Tensor = out[0] if isinstance(out, tuple) else out
    return whole
