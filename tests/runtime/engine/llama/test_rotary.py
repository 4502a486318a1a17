"""Rotary positions: taken off and put on as llama.cpp does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantize.formats.gguf_writer import write_gguf
from runtime.engine.llama.model import LlamaModel, Row
from runtime.engine.llama.rotary import Rotation, turn
from runtime.engine.llama.sequence_state import split_state

HALVES, NEIGHBOURS = (Rotation(8, adjacent, (1.0, 0.1, 0.01)) for adjacent in (False, True))


@pytest.mark.parametrize("rotation", [HALVES, NEIGHBOURS], ids=["halves", "neighbours"])
def test_rotation_put_on_again_gives_the_keys_back(rotation: Rotation) -> None:
    keys = np.random.default_rng(1).normal(size=(12, 24)).astype(np.float32)
    positions = np.arange(40, 52, dtype=np.int32)
    plain = rotation.take_off(keys, positions)
    back = np.empty((12, 24), dtype=np.float16)
    rotation.unpair(turn(plain, rotation.turns(positions), rotation.head).astype(np.float16), back)
    if rotation.adjacent:
        back = turn(plain, rotation.turns(positions), rotation.head).astype(np.float16)
    assert np.abs(back - keys).max() < 0.003
    heads, others = rotation.pairs(keys).reshape(12, 3, 8), plain.reshape(12, 3, 8)
    assert np.array_equal(heads[:, :, 6:], others[:, :, 6:])  # the fourth pair has no frequency: it is not turned


def keys_at(model: LlamaModel, delta: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys of a text's layers, positions), read at 0 and moved by llama.cpp."""
    model.clear()
    model.decode([Row(7 + 3 * n, n, 0, n == 9) for n in range(10)])
    if delta:
        model.shift(0, delta)
        model.decode([Row(5, 10 + delta, 0, True)])  # moving is done with the next batch
        model.remove(0, 10 + delta)
    state = split_state(model.save(0))
    return np.stack(state.tensors[: len(state.tensors) // 2]).astype(np.float32), state.positions


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_model_turns_keys_as_its_rotation_says(
    kind: str, random_gguf: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Keys moved by llama.cpp and keys moved by us are the same, for either way of pairing."""
    gguf = random_gguf
    if kind == "qwen2":
        gguf = tmp_path / "qwen2.gguf"
        write_gguf(request.getfixturevalue("tiny_qwen2"), gguf)
    model = LlamaModel(gguf, context_tokens=256, slots=1, sequences=2, threads=1, batch_tokens=64)
    rotation = model.rotation()
    assert rotation is not None
    assert rotation.adjacent == (kind == "llama")
    before, positions = keys_at(model, 0)
    after, moved = keys_at(model, 37)
    assert np.array_equal(moved, positions + 37)
    for one, other in zip(before, after, strict=True):
        plain, also = rotation.take_off(one, positions), rotation.take_off(other, moved)
        assert np.abs(plain - also).max() < 0.01 * np.abs(one).max()
        assert np.abs(one - other).max() > 0.1 * np.abs(one).max()
    model.close()
