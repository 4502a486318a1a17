from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from quantize.formats.onnx_decoder import OnnxDecoder, export_onnx_decoder
from quantize.measure.divergence import TorchDecoder
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.onnx.engine import OnnxEngine
from runtime.errors import MissingError
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
