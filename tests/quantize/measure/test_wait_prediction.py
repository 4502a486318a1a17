from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from quantize.formats.checkpoint import read_shape
from quantize.measure.size_prediction import stored_type
from quantize.measure.speed import Speed, measure_speed
from quantize.measure.trial_model import layer_types, write_trial
from quantize.measure.wait_prediction import added_up, predict_wait
from runtime.engine.llama.scorer import LlamaScorer
from tests.quantize.conftest import FAMILIES
from tests.quantize.measure.test_size_prediction import SMOLLM2


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_runs_random_layers_of_every_family_in_the_types_of_a_format(
    family: str, family_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    from gguf import GGUFReader

    shape = read_shape(json.loads((family_checkpoint(family) / "config.json").read_text(encoding="utf-8")))
    types = layer_types(shape, "q4_k_m", 0)
    write_trial(shape, [types, types], tmp_path / "a trial.gguf", head="q8_0", vocab=256)
    stored = {one.name: one.tensor_type.name.lower() for one in GGUFReader(tmp_path / "a trial.gguf").tensors}
    assert {part: stored[f"blk.1.{part}.weight"] for part in types} == types
    with LlamaScorer(tmp_path / "a trial.gguf", context=64, threads=1) as llama:
        logits = llama.logits([5, 6, 7])
    assert logits.shape == (3, 256)
    assert abs(logits).max() < 1e4


def test_a_whole_model_takes_its_parts_as_often_as_it_has_them_beside_a_busy_neighbour() -> None:
    """With a machine that takes a second a weight of four bits, two of more, and ten seconds for whatever it is.

    Of the three times that each file is timed, a neighbour makes one twice and one five times as long.
    """
    timings: list[Path] = []

    def timed(path: Path) -> Speed:
        from gguf import GGUFReader

        seconds = 10.0
        for one in GGUFReader(path).tensors:
            if len(one.shape) == 2:
                weights = int(one.shape[0]) * int(one.shape[1])
                seconds += weights * (1 if one.tensor_type.name == "Q4_K" else 2)
        timings.append(path)
        seconds *= (1, 2, 5)[(timings.count(path) + int(path.stem[-1])) % 3]
        return Speed(
            threads=1, prompt_tokens=8, reading_per_s=1, writing_per_s=1 / seconds, first_word_s=seconds, memory_mb=1
        )

    from dataclasses import replace

    shape = replace(SMOLLM2, hidden=256, heads=4, kv_heads=4, head_dim=64, feed_forward=512, layers=24, vocab=20_000)
    predicted = predict_wait(shape, "q4_k_m", prompt_tokens=8, threads=1, timed=timed)
    wanted = 10.0 + 20_000 * 256 * 2
    for layer in range(24):
        for part, rows, columns in (
            ("attn_q", 256, 256), ("attn_k", 256, 256), ("attn_v", 256, 256), ("attn_output", 256, 256),
            ("ffn_gate", 512, 256), ("ffn_up", 512, 256), ("ffn_down", 256, 512),
        ):  # fmt: skip
            four = stored_type("q4_k_m", part, layer, shape, columns) == "q4_k"
            wanted += rows * columns * (1 if four else 2)
    assert predicted.first_word_s == pytest.approx(wanted, rel=1e-6)
    assert predicted.step_s == pytest.approx(wanted, rel=1e-6)


def test_a_part_that_noise_made_negative_counts_for_nothing() -> None:
    assert added_up(1.0, [(0.1, 4), (-0.2, 8)], -1e-6, 50_000) == pytest.approx(0.9 + 0.4)


def test_speed_and_memory_of_a_file_are_measured_in_a_child(tiny_llama: Path, tmp_path: Path) -> None:
    from quantize.formats.gguf_writer import write_gguf

    write_gguf(tiny_llama, tmp_path / "a file.gguf")
    speed = measure_speed(tmp_path / "a file.gguf", prompt_tokens=150, write_tokens=2, tries=1, threads=1, context=256)
    assert (speed.threads, speed.prompt_tokens) == (1, 150)
    assert speed.reading_per_s > 0
    assert speed.writing_per_s > 0
    assert 10 < speed.memory_mb < 1000
