from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quantize.formats.checkpoint import ModelShape, read_shape
from quantize.formats.gguf_quantize import quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.formats.onnx_decoder import block_size
from quantize.measure.size_prediction import predict_sizes

SMOLLM2 = ModelShape(
    family="llama",
    layers=30,
    hidden=576,
    heads=9,
    kv_heads=3,
    head_dim=64,
    feed_forward=1536,
    vocab=49152,
    context=8192,
    norm_eps=1e-5,
    rope_theta=100000.0,
    rope_scaling=None,
    tied=True,
)
MEASURED_BYTES = {"f16": 270_885_568, "q8_0": 144_810_720, "q4_k_m": 105_453_792, "onnx_int8": 259_650_853}
"""Files made of SmolLM2-135M-Instruct by this package."""


def test_predicted_files_are_within_two_percent_of_those_made() -> None:
    predicted = {plan.format: plan.file_bytes for plan in predict_sizes(SMOLLM2)}
    for name, size in MEASURED_BYTES.items():
        assert predicted[name] == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_the_parts_llama_cpp_really_wrote_add_up(family: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from gguf import GGUFReader

    checkpoint = request.getfixturevalue(family)
    shape = read_shape(json.loads((checkpoint / "config.json").read_text(encoding="utf-8")))
    write_gguf(checkpoint, tmp_path / "f16.gguf")
    plans = {plan.format: plan for plan in predict_sizes(shape)}
    for kind in ("q8_0", "q4_k_m"):
        quantize_gguf(tmp_path / "f16.gguf", tmp_path / f"{kind}.gguf", kind)
        tensors = sum(int(tensor.n_bytes) for tensor in GGUFReader(tmp_path / f"{kind}.gguf").tensors)
        assert plans[kind].file_bytes - 36 * shape.vocab == tensors


def test_a_longer_context_needs_more_memory_and_the_same_file() -> None:
    short, long = predict_sizes(SMOLLM2, 1024), predict_sizes(SMOLLM2, 8192)
    assert [plan.file_bytes for plan in short] == [plan.file_bytes for plan in long]
    assert long[0].memory_bytes - short[0].memory_bytes == 7168 * SMOLLM2.kv_bytes_per_token
    assert SMOLLM2.kv_bytes_per_token == 23040


def test_scales_are_shared_by_blocks_that_fill_every_row() -> None:
    assert block_size(SMOLLM2) == 64
    assert block_size(replace(SMOLLM2, hidden=2048, heads=32, feed_forward=8192)) == 128
    assert block_size(replace(SMOLLM2, hidden=96, heads=2, head_dim=48)) == 32
