from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from quantize.formats.onnx_decoder import (
    Agreement,
    AgreementBound,
    OnnxDecoder,
    choose_accuracy,
    export_onnx_decoder,
)
from quantize.measure.divergence import TorchDecoder
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.onnx.engine import OnnxEngine
from runtime.errors import MissingError, ModelError, UsageError
from tests.quantize.conftest import variant


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_the_eight_bit_decoder_follows_f32_with_and_without_a_past(
    family: str, tmp_path: Path, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = variant(request.getfixturevalue(family), tmp_path / "checkpoint")
    export_onnx_decoder(checkpoint, tmp_path / "an onnx")
    assert capfd.readouterr() == ("", "")
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
    return Agreement(accuracy_level=level, kl=kl, agreement=agreement, positions=100)


@pytest.mark.parametrize(
    ("fast", "exact", "chosen"),
    [(0.99, 0.99, 4), (0.985, 0.99, 4), (0.97, 0.99, 1), (0.99, 0.97, 4), (0.5, 0.5, 4)],
)
def test_the_faster_way_to_compute_is_taken_unless_it_flips_likeliest_tokens(
    fast: float, exact: float, chosen: int
) -> None:
    assert choose_accuracy([tried(4, fast), tried(1, exact)]).accuracy_level == chosen


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
    """The way to compute that was measured best is what the file holds; a refusal leaves no folder."""
    import onnx

    checkpoint = variant(tiny_llama, tmp_path / "checkpoint", num_hidden_layers=1)
    probes = [list(range(3, 40)), list(range(50, 90))]
    rows = export_onnx_decoder(
        checkpoint, tmp_path / "four bits", bits=4, probes=probes, bound=AgreementBound(max_kl=9, min_agreement=0)
    )
    assert {row.accuracy_level for row in rows} == {4, 1}
    assert all(row.positions == 77 for row in rows)
    assert rows[0] == choose_accuracy(sorted(rows, key=lambda row: -row.accuracy_level))
    graph = onnx.load(str(tmp_path / "four bits" / "model.onnx")).graph
    attributes = [
        {attribute.name: attribute.i for attribute in node.attribute}
        for node in graph.node
        if node.op_type == "MatMulNBits"
    ]
    assert attributes
    assert {row["bits"] for row in attributes} == {4}
    assert {row["accuracy_level"] for row in attributes} == {rows[0].accuracy_level}
    assert rows[0].kl > 1e-6
    with pytest.raises(ModelError, match="in 4 bits the ONNX decoder strays from f32"):
        export_onnx_decoder(checkpoint, tmp_path / "refused", bits=4, probes=probes, bound=AgreementBound(max_kl=1e-9))
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint", "four bits"}
    assert {path.name for path in (tmp_path / "four bits").iterdir()} == {"model.onnx", "tokenizer.json"}
    with pytest.raises(UsageError, match="3 bits"):
        export_onnx_decoder(checkpoint, tmp_path / "refused", bits=3)
