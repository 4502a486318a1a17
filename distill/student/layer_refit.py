"""Refits the layers of a pruned student in closed form, so that its hidden states follow its teacher's.

Teacher and student read the same packs in step. After a kept layer the student should have the state that the teacher
has before its next kept layer, so the layer before a gap learns the work of the layers that are gone. First the
attention's output map, then the feed-forward's is moved by the D that solves

    min_D  Σ_t |h_t − s_t − D a_t|² / |h_t|²  +  λ|D|²

h_t is the teacher's state, s_t the student's, a_t the input of the map, over all tokens t of the packs; λ is `ridge`
times the mean diagonal of the normal equations (ridge regression). Layers are refitted front to back without gradients,
each on the states that the refitted ones before it give. ReplaceMe (arXiv:2505.02819) fits one map over a gap; fitting
every layer also corrects the error that is left. The teacher reads plainly, however the student reads its packs, so
the student learns to read compiled articles as its teacher reads prompts. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from distill.packing.forward import PackInputs, make_inputs
from distill.packing.packing import Pack, apply_layout
from runtime.errors import UsageError

_SMALLEST_NORM = 1e-6
_PARTS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
"""What a layer is made of, in Llama, Qwen2, Mistral and their kin: h + attention(norm(h)), then h + mlp(norm(h))."""


@dataclass
class _Stream:
    """One pack on its way through a model."""

    given: PackInputs
    rotary: Any
    states: torch.Tensor
    """[1, length, hidden]: the input of the model's next layer."""

    def places(self) -> dict[str, Any]:
        """Positions and masks of its tokens, as layers and attention take them."""
        return {
            "attention_mask": self.given.mask,
            "position_ids": self.given.positions,
            "position_embeddings": self.rotary,
        }


@dataclass
class _Pair:
    """One pack on its way through both models."""

    tokens: int
    teacher: _Stream
    student: _Stream

    def target(self) -> torch.Tensor:
        """The teacher's states without what fills the pack up, [token, hidden]."""
        return self.teacher.states[0, : self.tokens]


def refit_layers(
    student: Any,
    teacher: Any,
    keep: Sequence[int],
    packs: Sequence[Pack],
    *,
    ridge: float = 0.02,
    advance: Callable[[int], None] = lambda _tokens: None,
) -> list[float]:
    """Refit `student` in place; `keep` names the teacher's layers its own come from, in order.

    Returns the mean relative squared error of the states after each layer. `advance` counts tokens times student
    layers. `UsageError` for a model whose layers have other parts.
    """
    if not all(hasattr(layer, part) for layer in student.model.layers for part in _PARTS):
        what = f"layers of {type(student).__name__} cannot be refitted"
        raise UsageError(what, where="student", hint="repair_packs = 0")
    errors = []
    tokens = sum(len(pack.tokens) for pack in packs)
    # Everything in f32, without autocast: normal equations square the condition number of the states.
    with torch.no_grad():
        plain = apply_layout(packs, "exact")
        pairs = [
            _Pair(len(pack.tokens), _stream(teacher, read), _stream(student, pack))
            for read, pack in zip(plain, packs, strict=True)
        ]
        for index, layer in enumerate(student.model.layers):
            # The teacher runs to its next kept layer, over the gap; the student's one layer has to do the same.
            end = keep[index + 1] if index + 1 < len(keep) else len(teacher.model.layers)
            for pair in pairs:
                for position in range(keep[index], end):
                    pair.teacher.states = _run(teacher.model.layers[position], pair.teacher)
            _refit_attention(layer, pairs, ridge)
            _refit_mlp(layer, pairs, ridge)
            errors.append(sum(_error(pair) for pair in pairs) / tokens)
            advance(tokens)
    return errors


def _refit_attention(layer: Any, pairs: Sequence[_Pair], ridge: float) -> None:
    """Refit `o_proj`, the feed-forward as it is; leaves each student's states after the attention."""
    fit, ran = _Fit.of(layer.self_attn.o_proj), []
    for pair in pairs:
        before = pair.student.states
        with _fed(layer.self_attn.o_proj) as fed:
            states = before + layer.self_attn(layer.input_layernorm(before), **pair.student.places())[0]
        fit.add(fed[0], pair, states + layer.mlp(layer.post_attention_layernorm(states)))
        ran.append((states, fed[0]))
    fit.move(pairs, ran, ridge)


def _refit_mlp(layer: Any, pairs: Sequence[_Pair], ridge: float) -> None:
    """Refit `down_proj`; takes each student's states after the attention and leaves those after the layer."""
    fit, ran = _Fit.of(layer.mlp.down_proj), []
    for pair in pairs:
        before = pair.student.states
        with _fed(layer.mlp.down_proj) as fed:
            states = before + layer.mlp(layer.post_attention_layernorm(before))
        fit.add(fed[0], pair, states)
        ran.append((states, fed[0]))
    fit.move(pairs, ran, ridge)


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
        return cls(
            linear,
            torch.zeros(linear.in_features, linear.in_features),
            torch.zeros(linear.in_features, linear.out_features),
        )

    def add(self, fed: torch.Tensor, pair: _Pair, states: torch.Tensor) -> None:
        """Add a pack: the map's input, and the states after the layer that came of it, both [1, length, …]."""
        target = pair.target()
        # Relative errors: without it a few tokens with states a hundred times as long would decide everything.
        scale = 1 / target.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
        scaled = fed[0, : pair.tokens] * scale
        self.gram += scaled.T @ scaled
        self.cross += scaled.T @ ((target - states[0, : pair.tokens]) * scale)

    def move(self, pairs: Sequence[_Pair], ran: Sequence[tuple[torch.Tensor, torch.Tensor]], ridge: float) -> None:
        """Solve, move the map, and give each student the states that the moved map writes, without running it again."""
        self.gram.diagonal().add_(ridge * self.gram.diagonal().mean())
        move = torch.linalg.solve(self.gram, self.cross)
        self.linear.weight += move.T
        for pair, (states, fed) in zip(pairs, ran, strict=True):
            pair.student.states = states + fed @ move


@contextmanager
def _fed(linear: Any) -> Iterator[list[torch.Tensor]]:
    """Collects what a linear map is given."""
    given: list[torch.Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _module, args: given.append(args[0]))
    try:
        yield given
    finally:
        handle.remove()


def _error(pair: _Pair) -> float:
    """Relative squared error of the student's states, added up over a pack's tokens."""
    target = pair.target()
    missed = (target - pair.student.states[0, : pair.tokens]).square().sum(-1)
    return float((missed / target.square().sum(-1).clamp_min(_SMALLEST_NORM**2)).sum())


def _stream(model: Any, pack: Pack) -> _Stream:
    given = make_inputs(pack)
    states = model.model.embed_tokens(given.ids)
    return _Stream(given, model.model.rotary_emb(states, given.positions), states)


def _run(layer: Any, stream: _Stream) -> torch.Tensor:
    """A teacher's layer on a stream."""
    out = layer(stream.states, **stream.places())
    states: torch.Tensor = out[0] if isinstance(out, tuple) else out
    return states
