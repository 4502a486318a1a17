"""A model's speed predicted from another's."""

from __future__ import annotations

import pytest

from distill.models.known_bases import known_bases
from quantize.formats.checkpoint import read_shape
from quantize.measure.size_prediction import embedding_bytes, predict_sizes
from quantize.measure.speed_prediction import TokenCost, predict_tokens_per_s, token_cost


def test_speed_of_3b_is_predicted_from_the_speed_of_135m() -> None:
    """Both as docs/reference/benchmarks.md has them, measured on one machine: 164 and 15.4 tokens a second."""
    llama = next(base for base in known_bases() if base.name == "Llama-3.2-3B-Instruct")
    shape = read_shape(llama.config)
    (plan,) = (plan for plan in predict_sizes(shape) if plan.format == "q4_k_m")
    cost = token_cost(shape, plan.file_bytes, embedding_bytes(shape, "q4_k_m"))
    assert predict_tokens_per_s(cost, TokenCost(98_362_432, 30), 164.0) == pytest.approx(15.4, rel=0.1)


def test_input_embeddings_that_are_no_output_layer_cost_no_time() -> None:
    qwen = next(base for base in known_bases() if base.name == "Qwen2.5-7B-Instruct")
    shape = read_shape(qwen.config)
    table = embedding_bytes(shape, "q4_k_m")
    assert table > 100_000_000
    assert token_cost(shape, 5_000_000_000, table).read_bytes == 5_000_000_000 - table
