"""Pruning by block influence: what does nothing goes first, and what is left is a whole model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.packing.packing import Pack
from distill.student.depth_pruning import block_influence, layers_to_keep, prune_depth
from runtime.errors import UsageError

OpenModel = Callable[..., Any]


def silence(layer: Any) -> None:
    """Make a layer hand on what it is given."""
    with torch.no_grad():
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()


def test_a_layer_that_does_nothing_has_no_influence(tiny_llama: Path, open_model: OpenModel, packs: list[Pack]) -> None:
    model = open_model(tiny_llama)
    silence(model.model.layers[2])
    influence = block_influence(model, packs[:2], precision="f32")
    assert influence[2] == pytest.approx(0, abs=1e-5)
    assert all(value > 0.01 for index, value in enumerate(influence) if index != 2)
    assert all(0 <= value <= 2 for index, value in enumerate(influence) if index != 2)
    assert layers_to_keep(influence, 3) == [0, 1, 3]


def test_a_layer_that_turns_everything_round_has_the_influence_two(
    tiny_llama: Path, open_model: OpenModel, packs: list[Pack]
) -> None:
    class Turn(torch.nn.Module):
        attention_type = "full_attention"

        def forward(self, hidden_states: torch.Tensor, **_: Any) -> torch.Tensor:
            return -hidden_states

    model = open_model(tiny_llama)
    model.model.layers[1] = Turn()
    assert block_influence(model, packs[:1], precision="f32")[1] == pytest.approx(2, abs=1e-5)


def test_measuring_leaves_no_trace_in_the_model(tiny_llama: Path, open_model: OpenModel, packs: list[Pack]) -> None:
    model = open_model(tiny_llama)
    first = block_influence(model, packs[:1], precision="f32")
    assert block_influence(model, packs[:1], precision="f32") == first
    assert not any(layer._forward_hooks for layer in model.model.layers)
    assert all(weight.grad is None for weight in model.parameters())


@given(st.lists(st.floats(0, 2), min_size=2, max_size=40), st.data())
def test_the_most_influential_layers_stay_in_their_order(influence: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(2, len(influence)))
    keep = layers_to_keep(influence, count)
    assert keep == sorted(set(keep))
    assert len(keep) == count
    assert keep[0] == 0
    assert keep[-1] == len(influence) - 1
    dropped = [influence[layer] for layer in range(len(influence)) if layer not in keep]
    assert max(dropped, default=0) <= min((influence[layer] for layer in keep[1:-1]), default=2)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_number_of_layers_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=r"student\.layers.*of 4"):
        layers_to_keep([0.1, 0.2, 0.3, 0.4], count)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_dropping_idle_layers_changes_no_logit(
    family: str, request: pytest.FixtureRequest, open_model: OpenModel
) -> None:
    model = open_model(request.getfixturevalue(family))
    silence(model.model.layers[1])
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = model(ids).logits
        prune_depth(model, [0, 2, 3])
        assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_a_pruned_model_writes_the_same_with_and_without_cache_and_after_saving(
    family: str, request: pytest.FixtureRequest, open_model: OpenModel, tmp_path: Path
) -> None:
    model = open_model(request.getfixturevalue(family))
    prune_depth(model, [0, 2, 3])
    assert model.config.num_hidden_layers == 3
    ids = torch.tensor([[5, 6, 7, 8]])
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    plain = model.generate(ids, use_cache=False, **options)
    assert plain.shape[1] > 6
    assert torch.equal(model.generate(ids, use_cache=True, **options), plain)
    model.save_pretrained(tmp_path / "pruned")
    again = open_model(tmp_path / "pruned", widen=1)
    assert len(again.model.layers) == 3
    assert torch.equal(again.generate(ids, use_cache=True, **options), plain)
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)
