from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantize.formats.checkpoint import ModelShape, read_shape
from quantize.formats.gguf_quantize import KINDS, quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.formats.importance_matrix import ImportanceMatrix, write_importance
from quantize.measure.size_prediction import predict_sizes
from tests.quantize.conftest import FAMILIES

SMOLLM2 = ModelShape(
    architecture="llama",
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
MEASURED_BYTES = {"f16": 270_885_568, "q8_0": 144_810_720, "q4_k_m": 105_453_792, "onnx_int8": 291_169_996}
"""Files made of SmolLM2-135M-Instruct by this package."""


def test_predicted_files_are_within_two_percent_of_those_made() -> None:
    predicted = {plan.format: plan.file_bytes for plan in predict_sizes(SMOLLM2)}
    for name, size in MEASURED_BYTES.items():
        assert predicted[name] == pytest.approx(size, rel=0.02)


def importance_of(f16: Path, out: Path) -> Path:
    """A matrix that finds every weight alike."""
    from gguf import GGUFReader

    weights = {
        tensor.name: np.ones(int(tensor.shape[0]), dtype=np.float32)
        for tensor in GGUFReader(f16).tensors
        if len(tensor.shape) == 2
    }
    write_importance(ImportanceMatrix(weights, dict.fromkeys(weights, 1)), out)
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_llama_cpp_really_wrote_add_up(
    family: str, family_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Byte for byte: every type for the separate and the fused layout, the usual one for each family."""
    from gguf import GGUFReader

    checkpoint = family_checkpoint(family)
    shape = read_shape(json.loads((checkpoint / "config.json").read_text(encoding="utf-8")))
    write_gguf(checkpoint, tmp_path / "f16.gguf")
    matrix = importance_of(tmp_path / "f16.gguf", tmp_path / "imatrix.gguf")
    plans = {plan.format: plan for plan in predict_sizes(shape)}
    for kind in KINDS if family in ("llama", "phi3") else ("q4_k_m",):
        quantize_gguf(tmp_path / "f16.gguf", tmp_path / f"{kind}.gguf", kind, importance=matrix)
        tensors = sum(int(tensor.n_bytes) for tensor in GGUFReader(tmp_path / f"{kind}.gguf").tensors)
        assert plans[kind].file_bytes - 36 * shape.vocab == tensors, kind


def test_a_longer_context_needs_more_memory_and_the_same_file() -> None:
    short, long = predict_sizes(SMOLLM2, 1024), predict_sizes(SMOLLM2, 8192)
    assert [plan.file_bytes for plan in short] == [plan.file_bytes for plan in long]
    assert long[0].memory_bytes - short[0].memory_bytes == 7168 * SMOLLM2.kv_bytes_per_token
    assert SMOLLM2.kv_bytes_per_token == 23040
