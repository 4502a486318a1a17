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

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.packs import Pack
from distill.reading import Inputs, inputs
from runtime.errors import UsageError

if TYPE_CHECKING:
    import torch

_SMALLEST_NORM = 1e-6
_PARTS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
"""What a layer is made of, in Llama, Qwen2, Mistral and their kin: h + attention(norm(h)), then h + mlp(norm(h))."""


@dataclass
class _Stream:
    """One pack on its way through both models."""

    tokens: int
    given: Inputs
    rotary: Any
    teacher: torch.Tensor
    """[1, length, hidden]: states before the teacher's next layer."""
    student: torch.Tensor

    def places(self) -> dict[str, Any]:
        """Where its tokens stand and what they may see, as layers and attention take it."""
        return {
            "attention_mask": self.given.mask,
            "position_ids": self.given.positions,
            "position_embeddings": self.rotary,
        }

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
    condition of the states. `advance` counts tokens times student layers. `UsageError` for a model whose layers
    are made otherwise.
    """
    import torch

    errors = []
    tokens = sum(len(pack.tokens) for pack in packs)
    with torch.no_grad():
        streams = [_stream(teacher, pack) for pack in packs]
        for index, layer in enumerate(student.model.layers):
            if not all(hasattr(layer, part) for part in _PARTS):
                raise UsageError(
                    f"layers of {type(student).__name__} cannot be refitted", where="student", hint="repair_packs = 0"
                )
            behind = keep[index + 1] if index + 1 < len(keep) else len(teacher.model.layers)
            for stream in streams:
                for position in range(keep[index], behind):
                    stream.teacher = _run(teacher.model.layers[position], stream)
            _refit_attention(layer, streams, ridge)
            _refit_mlp(layer, streams, ridge)
            errors.append(sum(_error(stream) for stream in streams) / tokens)
            advance(tokens)
    return errors


def _refit_attention(layer: Any, streams: Sequence[_Stream], ridge: float) -> None:
    """Refit `o_proj`, the feed-forward as it is; leaves each stream's states behind the attention."""
    fit, ran = _Fit.of(layer.self_attn.o_proj), []
    for stream in streams:
        with _fed(layer.self_attn.o_proj) as fed:
            states = stream.student + layer.self_attn(layer.input_layernorm(stream.student), **stream.places())[0]
        fit.add(fed[0], stream, states + layer.mlp(layer.post_attention_layernorm(states)))
        ran.append((states, fed[0]))
    fit.move(streams, ran, ridge)


def _refit_mlp(layer: Any, streams: Sequence[_Stream], ridge: float) -> None:
    """Refit `down_proj`; takes each stream's states behind the attention and leaves those behind the layer."""
    fit, ran = _Fit.of(layer.mlp.down_proj), []
    for stream in streams:
        with _fed(layer.mlp.down_proj) as fed:
            states = stream.student + layer.mlp(layer.post_attention_layernorm(stream.student))
        fit.add(fed[0], stream, states)
        ran.append((states, fed[0]))
    fit.move(streams, ran, ridge)


@dataclass
class _Fit:
    """The normal equations of one linear map."""

    linear: Any
    gram: torch.Tensor
    """[in, in]"""
    cross: torch.Tensor
    """[in, out]"""

    @classmethod
    def of(cls, linear: Any) -> _Fit:
        import torch

        return cls(
            linear,
            torch.zeros(linear.in_features, linear.in_features),
            torch.zeros(linear.in_features, linear.out_features),
        )

    def add(self, fed: torch.Tensor, stream: _Stream, states: torch.Tensor) -> None:
        """What the map was fed, and the states behind the layer that came of it, both [1, length, …]."""
        target = stream.target()
        scale = 1 / target.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
        scaled = fed[0, : stream.tokens] * scale
        self.gram += scaled.T @ scaled
        self.cross += scaled.T @ ((target - states[0, : stream.tokens]) * scale)

    def move(self, streams: Sequence[_Stream], ran: Sequence[tuple[torch.Tensor, torch.Tensor]], ridge: float) -> None:
        """Solve, move the map, and give each stream the states it then has: what was fed passes through the move."""
        import torch

        self.gram.diagonal().add_(ridge * self.gram.diagonal().mean())
        move = torch.linalg.solve(self.gram, self.cross)
        self.linear.weight += move.T
        for stream, (states, fed) in zip(streams, ran, strict=True):
            stream.student = states + fed @ move


@contextmanager
def _fed(linear: Any) -> Iterator[list[torch.Tensor]]:
    """Collects what a linear map is given."""
    given: list[torch.Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _module, args: given.append(args[0]))
    try:
        yield given
    finally:
        handle.remove()


def _error(stream: _Stream) -> float:
    """Relative squared error of the student's states, added up over a pack's tokens."""
    target = stream.target()
    missed = (target - stream.student[0, : stream.tokens]).square().sum(-1)
    return float((missed / target.square().sum(-1).clamp_min(_SMALLEST_NORM**2)).sum())


def _stream(model: Any, pack: Pack) -> _Stream:
    given = inputs(pack)
    states = model.model.embed_tokens(given.ids)
    return _Stream(len(pack.tokens), given, model.model.rotary_emb(states, given.positions), states, states)


def _run(layer: Any, stream: _Stream) -> torch.Tensor:
    """A teacher's layer on a stream."""
    out = layer(stream.teacher, **stream.places())
    whole: torch.Tensor = out[0] if isinstance(out, tuple) else out
    return whole
