from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantize.measure import TorchDecoder
from quantize.onnx_decoder import OnnxDecoder, export_onnx_decoder
from runtime.errors import MissingError

from .conftest import variant


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


def test_a_folder_without_a_model_is_missing_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"model\.onnx"):
        OnnxDecoder(tmp_path)
