from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantize.formats.gguf_quantize import quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.formats.importance_matrix import (
    ImportanceMatrix,
    measure_importance,
    read_importance,
    write_importance,
)
from quantize.measure.divergence import TorchDecoder
from runtime.base.statistics import log_softmax
from runtime.engine.llama.scorer import LlamaScorer
from runtime.errors import InputError, MissingError, ModelError

TEXTS = [[5, 6, 7, 8, 9], [], [20, 21, 22]]


@pytest.mark.parametrize("checkpoint", ["tiny_llama", "tiny_qwen2"])
def test_importance_is_the_mean_square_of_what_each_column_multiplies(
    checkpoint: str, request: pytest.FixtureRequest
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder: Path = request.getfixturevalue(checkpoint)
    seen: list[int] = []
    matrix = measure_importance(folder, TEXTS, threads=1, advance=seen.append)
    assert sum(seen) == len(TEXTS)
    assert set(matrix.tokens.values()) == {8}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    expected = 0.0
    with torch.inference_mode():
        for text in TEXTS:
            if text:
                states = model.model(torch.tensor([text]), output_hidden_states=True).hidden_states[0]
                expected = expected + model.model.layers[0].input_layernorm(states).square().sum(dim=(0, 1)).numpy()
    np.testing.assert_allclose(matrix.means()["blk.0.attn_q.weight"], np.asarray(expected) / 8, rtol=1e-4)


def test_importance_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    sums = {"blk.0.ffn_down.weight": np.array([0.5, 8.0, 0.0], dtype=np.float32)}
    write_importance(ImportanceMatrix(sums, {"blk.0.ffn_down.weight": 4}, "商店 1.0"), tmp_path / "m.gguf")
    read = read_importance(tmp_path / "m.gguf")
    assert read.source == "商店 1.0"
    assert read.tokens == {"blk.0.ffn_down.weight": 4}
    assert read.means()["blk.0.ffn_down.weight"].tolist() == [0.125, 2.0, 0.0]
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_a_matrix_that_no_text_reached_weighs_every_column_alike() -> None:
    matrix = ImportanceMatrix({"a": np.zeros(2, dtype=np.float32)}, {"a": 0})
    assert matrix.means()["a"].tolist() == [1.0, 1.0]


def test_importance_refuses_no_text_and_files_that_are_none(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text"):
        measure_importance(tiny_llama, [[], []])
    with pytest.raises(MissingError):
        read_importance(tmp_path / "none.gguf")
    write_gguf(tiny_llama, tmp_path / "model.gguf")
    whole = (tmp_path / "model.gguf").read_bytes()
    for number, data in enumerate((b"", b"GGUF", b"not a file of ours", whole, whole[:3000], b"GGUF" + b"\xff" * 200)):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(data)
        with pytest.raises(ModelError, match="not an importance matrix"):
            read_importance(path)


def test_rounding_by_importance_is_nearer_to_f32_on_texts_that_use_few_columns(
    tiny_llama: Path, tmp_path: Path
) -> None:
    """llama.cpp takes the matrix: what it rounds with it differs less where the columns that matter are few."""
    f16, weighed, plain = tmp_path / "f16.gguf", tmp_path / "weighed.gguf", tmp_path / "plain.gguf"
    write_gguf(tiny_llama, f16)
    texts = [[(7 * place + offset) % 50 for place in range(40)] for offset in range(4)]
    write_importance(measure_importance(tiny_llama, texts, threads=1), tmp_path / "m.gguf")
    quantize_gguf(f16, plain, "iq4_nl", threads=1)
    log = quantize_gguf(f16, weighed, "iq4_nl", importance=tmp_path / "m.gguf", threads=1)
    assert weighed.read_bytes() != plain.read_bytes()
    assert weighed.stat().st_size == plain.stat().st_size
    assert "did not find weights" not in log
    with TorchDecoder(tiny_llama, threads=1) as reference:
        truth = log_softmax(reference.logits(texts[0]))

    def divergence(path: Path) -> float:
        with LlamaScorer(path, context=64, threads=1) as scorer:
            found = log_softmax(scorer.logits(texts[0]))
        return float((np.exp(truth) * (truth - found)).sum(axis=-1).mean())

    assert divergence(weighed) < divergence(plain)
