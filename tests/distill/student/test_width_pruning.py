"""Width pruning: what says nothing goes first, and what is left is a whole model that others can open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.packing.forward import forward
from distill.packing.packing import Pack
from distill.student.merge_lora import save_checkpoint
from distill.student.width_pruning import activation_importance, prune_width
from runtime.errors import UsageError

OpenModel = Callable[..., Any]
SIZE, QUERIES = 16, 2
"""Of the tiny models: a head's width, and the query heads that read one key-value head."""


def silence(model: Any, head: int, units: list[int]) -> None:
    """Make one group of heads and some feed-forward units of every layer say nothing."""
    with torch.no_grad():
        for layer in model.model.layers:
            for weights in (layer.self_attn.v_proj.weight, layer.self_attn.v_proj.bias):
                if weights is not None:
                    weights[head * SIZE : (head + 1) * SIZE] = 0
            layer.mlp.up_proj.weight[units] = 0


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_qwen2"])
def test_cutting_out_what_says_nothing_changes_nothing(
    kind: str, request: pytest.FixtureRequest, open_model: OpenModel, packs: list[Pack]
) -> None:
    model = open_model(request.getfixturevalue(kind))
    quiet = [3, 50, 127]
    silence(model, 0, quiet)
    with torch.no_grad():
        before = forward(model, packs[0])
    importance = activation_importance(model, packs[:2], precision="f32")
    assert importance.heads[:, 0].max() == 0 < importance.heads[:, 1].min()
    assert importance.units[:, quiet].max() == 0 < importance.units.sum()
    prune_width(model, importance, kv_heads=1, feed_forward=125)
    with torch.no_grad():
        torch.testing.assert_close(forward(model, packs[0]), before, rtol=1e-4, atol=1e-4)
    attention = model.model.layers[2].self_attn
    assert attention.q_proj.weight.shape == (QUERIES * SIZE, 64)
    assert attention.o_proj.weight.shape == (64, QUERIES * SIZE)
    assert model.model.layers[2].mlp.down_proj.weight.shape == (64, 125)


def test_a_narrow_checkpoint_opens_in_transformers_and_in_llama_cpp(
    tiny_llama: Path, open_model: OpenModel, packs: list[Pack], tmp_path: Path
) -> None:
    from quantize.formats.gguf_writer import write_gguf
    from runtime.engine.llama.scorer import LlamaScorer

    model = open_model(tiny_llama)
    prune_width(model, activation_importance(model, packs[:1], precision="f32"), kv_heads=1, feed_forward=96)
    save_checkpoint(model, tiny_llama, tmp_path / "narrow")
    again = open_model(tmp_path / "narrow", widen=1.0)
    assert (again.config.num_attention_heads, again.config.num_key_value_heads, again.config.head_dim) == (2, 1, SIZE)
    tokens = list(packs[0].tokens[:40])
    with torch.no_grad():
        wanted = model(torch.tensor([tokens])).logits[0]
        torch.testing.assert_close(again(torch.tensor([tokens])).logits[0], wanted)
    write_gguf(tmp_path / "narrow", tmp_path / "narrow.gguf")
    with LlamaScorer(tmp_path / "narrow.gguf", context=64, threads=1, f32_cache=True) as file:
        got = torch.from_numpy(file.logits(tokens))
    assert (got.argmax(-1) == wanted.argmax(-1)).float().mean() > 0.9  # f16 weights


@pytest.mark.parametrize(("wanted", "where"), [({"kv_heads": 3}, "kv_heads"), ({"feed_forward": 129}, "feed_forward")])
def test_more_than_there_is_cannot_be_kept(
    wanted: dict[str, int], where: str, tiny_llama: Path, open_model: OpenModel, packs: list[Pack]
) -> None:
    model = open_model(tiny_llama)
    with pytest.raises(UsageError, match="of a teacher's") as error:
        prune_width(model, activation_importance(model, packs[:1], precision="f32"), **wanted)
    assert where in error.value.where
