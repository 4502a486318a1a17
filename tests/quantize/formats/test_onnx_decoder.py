from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from quantize.formats.onnx_decoder import (
    WAYS,
    Agreement,
    AgreementBound,
    OnnxDecoder,
    Way,
    choose_way,
    export_onnx_decoder,
)
from quantize.measure.divergence import TorchDecoder
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.onnx.engine import OnnxEngine
from runtime.errors import MissingError, ModelError, UsageError
from tests.quantize.conftest import variant

PROBES = [list(range(3, 40)), list(range(50, 90))]
OPEN = AgreementBound(max_kl=9, min_agreement=0)


def assert_best_way_is_stored(folder: Path, bits: int, rows: list[Agreement]) -> None:
    """Every way was measured, and every matrix of the file is stored in the one that `choose_way` takes."""
    import onnx

    assert {(row.block, row.accuracy_level) for row in rows} == set(WAYS[bits])
    assert all(row.positions == 77 and row.kl > 1e-6 for row in rows)
    assert rows[0] == choose_way(sorted(rows, key=lambda row: WAYS[bits].index(Way(row.block, row.accuracy_level))))
    graph = onnx.load(str(folder / "model.onnx")).graph
    stored = [
        {attribute.name: attribute.i for attribute in node.attribute}
        for node in graph.node
        if node.op_type == "MatMulNBits"
    ]
    wanted = (bits, rows[0].block, rows[0].accuracy_level)
    assert {(row["bits"], row["block_size"], row["accuracy_level"]) for row in stored} == {wanted}


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_the_eight_bit_decoder_follows_f32_with_and_without_a_past(
    family: str, tmp_path: Path, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = variant(request.getfixturevalue(family), tmp_path / "checkpoint")
    rows = export_onnx_decoder(checkpoint, tmp_path / "an onnx", probes=PROBES, bound=OPEN)
    assert capfd.readouterr() == ("", "")
    assert_best_way_is_stored(tmp_path / "an onnx", 8, rows)
    tokens = list(range(3, 60))
    with TorchDecoder(checkpoint) as torch, OnnxDecoder(tmp_path / "an onnx") as onnx:
        wanted, got = torch.logits(tokens), onnx.logits(tokens)
        assert onnx.decode_rate(tokens, 4) > 0
    assert np.corrcoef(wanted.ravel(), got.ravel())[0, 1] > 0.99
    assert {path.name for path in (tmp_path / "an onnx").iterdir()} == {"model.onnx", "tokenizer.json"}
    # The branch's second runtime writes what the export's own logits say.
    asked, written = list(range(40, 60)), list(range(40, 60))
    with OnnxDecoder(tmp_path / "an onnx") as onnx:
        for _ in range(12):
            written.append(int(np.argmax(onnx.logits(written, len(written) - 1)[0])))
    with OnnxEngine(tmp_path / "an onnx", context_tokens=256, threads=1) as engine:
        generation = engine.generate(asked, SamplingParams(max_tokens=12), threading.Event())
        said = "".join(piece.text for piece in generation)
        assert said == b"".join(map(engine.vocab.piece, written[20:])).decode("utf-8", "ignore")
        assert generation.stats.answer_tokens == 12


def test_a_folder_without_a_model_is_missing_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"model\.onnx"):
        OnnxDecoder(tmp_path)


def tried(level: int, agreement: float, kl: float = 0.001) -> Agreement:
    return Agreement(block=32, accuracy_level=level, kl=kl, agreement=agreement, positions=100)


@pytest.mark.parametrize(
    ("fast", "exact", "chosen"),
    [(0.99, 0.99, 4), (0.985, 0.99, 4), (0.97, 0.99, 1), (0.99, 0.97, 4), (0.5, 0.5, 4)],
)
def test_the_faster_way_is_taken_unless_it_flips_likeliest_tokens(fast: float, exact: float, chosen: int) -> None:
    assert choose_way([tried(4, fast), tried(1, exact)]).accuracy_level == chosen


@pytest.mark.parametrize(
    ("row", "within"),
    [
        (tried(4, 0.9, 0.05), True),
        (tried(4, 0.89), False),
        (tried(4, 0.99, 0.06), False),
        (tried(4, 1, float("nan")), False),
    ],
)
def test_a_bound_holds_for_both_figures_and_for_no_number_that_is_none(row: Agreement, within: bool) -> None:
    assert row.within(AgreementBound()) is within


def test_a_four_bit_decoder_is_measured_on_probes_and_refused_beyond_its_bound(
    tiny_llama: Path, tmp_path: Path
) -> None:
    """A refusal leaves no folder."""
    checkpoint = variant(tiny_llama, tmp_path / "checkpoint", num_hidden_layers=1)
    rows = export_onnx_decoder(checkpoint, tmp_path / "four bits", bits=4, probes=PROBES, bound=OPEN)
    assert_best_way_is_stored(tmp_path / "four bits", 4, rows)
    with pytest.raises(ModelError, match="in 4 bits the ONNX decoder strays from f32"):
        export_onnx_decoder(checkpoint, tmp_path / "refused", bits=4, probes=PROBES, bound=AgreementBound(max_kl=1e-9))
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint", "four bits"}
    assert {path.name for path in (tmp_path / "four bits").iterdir()} == {"model.onnx", "tokenizer.json"}


def test_bits_that_no_decoder_has_are_a_usage_error(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 bits"):
        export_onnx_decoder(tiny_llama, tmp_path / "refused", bits=3)
    assert not list(tmp_path.iterdir())
