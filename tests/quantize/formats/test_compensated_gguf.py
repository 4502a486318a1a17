from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantize.formats.compensated_gguf import compensate_gguf
from quantize.formats.gguf_blocks import BLOCK_TYPES
from quantize.formats.gguf_quantize import quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.measure.divergence import TorchDecoder
from runtime.engine.llama.scorer import LlamaScorer
from runtime.errors import InputError
from tests.quantize.conftest import variant

TEXTS = [[int(token) for token in np.random.default_rng(seed).integers(3, 400, 96)] for seed in range(6)]
"""Token ids; a random model's inputs are as correlated on noise as on text."""


def plain(checkpoint: Path, folder: Path, kind: str) -> Path:
    """llama.cpp's own rounding of a checkpoint."""
    write_gguf(checkpoint, folder / "f16.gguf")
    quantize_gguf(folder / "f16.gguf", folder / f"{kind}.gguf", kind, threads=1)
    return folder / f"{kind}.gguf"


def described(path: Path) -> list[tuple[str, str, list[int]]]:
    """Every tensor's name, type and shape."""
    from gguf import GGUFReader

    return [(one.name, one.tensor_type.name, [int(size) for size in one.shape]) for one in GGUFReader(path).tensors]


def test_the_rounded_file_has_the_same_size_and_types_and_errs_less_on_other_text(
    tiny_llama: Path, tmp_path: Path
) -> None:
    """Errors of logits against f32, summed over text that was not rounded by; llama.cpp reads the file."""
    checkpoint = variant(tiny_llama, tmp_path / "checkpoint", num_hidden_layers=2)
    before, after = plain(checkpoint, tmp_path, "q4_0"), tmp_path / "a better.gguf"
    steps: list[int] = []
    done = compensate_gguf(checkpoint, before, after, TEXTS, threads=1, advance=steps.append)
    assert len(steps) == 2
    assert after.stat().st_size == before.stat().st_size
    assert described(after) == described(before)
    rounded = {name for name, kind, _ in described(after) if kind in BLOCK_TYPES and name.startswith("blk.")}
    assert set(done.errors) == rounded
    assert all(error.after <= error.before for error in done.errors.values())
    assert done.remaining < 0.9
    other = [int(token) for token in np.random.default_rng(99).integers(3, 400, 96)]
    with TorchDecoder(checkpoint, threads=1) as reference:
        wanted = reference.logits(other)
    off = []
    for path in (before, after):
        with LlamaScorer(path, context=128, threads=1) as llama:
            off.append(float(np.square(llama.logits(other) - wanted).sum()))
    assert off[1] < off[0]
    again = tmp_path / "again.gguf"
    compensate_gguf(checkpoint, before, again, TEXTS, threads=1)
    assert again.read_bytes() == after.read_bytes()


@pytest.mark.parametrize("family", ["qwen2", "granite", "phi3"])
def test_rows_are_rounded_in_each_order_that_llama_cpp_stores_them_in(
    family: str, family_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Rows as they are, reordered ones, and matrices that hold several."""
    checkpoint = family_checkpoint(family)
    done = compensate_gguf(checkpoint, plain(checkpoint, tmp_path, "q4_0"), tmp_path / "out.gguf", TEXTS[:3], threads=1)
    assert done.remaining < 0.9
    assert all(error.after <= error.before for error in done.errors.values())


def test_where_replies_begin_decides_what_the_rounding_goes_by(tiny_llama: Path, tmp_path: Path) -> None:
    """With the reply's start elsewhere other tokens count, and other codes are chosen."""
    checkpoint = variant(tiny_llama, tmp_path / "checkpoint", num_hidden_layers=1)
    before = plain(checkpoint, tmp_path, "q4_0")
    made = []
    for start in (1, 90):
        out = tmp_path / f"{start}.gguf"
        compensate_gguf(checkpoint, before, out, TEXTS[:2], starts=[start, start], threads=1)
        made.append(out.read_bytes())
    assert made[0] != made[1]


def test_nothing_to_round_by_is_bad_input_and_leaves_no_file(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text"):
        compensate_gguf(tiny_llama, tmp_path / "x.gguf", tmp_path / "out.gguf", [[]])
    assert not list(tmp_path.iterdir())
