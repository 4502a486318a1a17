"""Recognisers and recordings for tests.

English is heard by the real one where it is in the cache (`./build.sh test` fetches it). No package carries one for
Chinese: `reciting_recogniser` has SenseVoice's ONNX interface, so that sherpa-onnx does all of its work, and recites
one sentence over the length of whatever is said. The recordings were spoken by espeak-ng.
"""

from __future__ import annotations

import io
import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.perception.speech_models import SpeechModels, open_speech_models
from tests.support.paths import ROOT

ENGLISH = ROOT / "tests" / "support" / "recorded" / "question_en.flac"
ENGLISH_TEXT = "How long do I have to return something?"
CHINESE = ROOT / "tests" / "support" / "recorded" / "question_zh.flac"
CHINESE_TEXT = "这件商品可以退货吗？"
_FEATURES = 560
"""Seven frames of 80 mel bands, as SenseVoice reads them."""
_MARKS = 4
"""Tokens before the text: language, emotion, event, whether figures are written as such."""


def find_speech_model(name: str) -> Path | None:
    """A catalogue model's folder; None where it has not been fetched."""
    from distill.models.speech_catalogue import SPEECH_CATALOGUE
    from runtime.base.user_cache import cache_folder

    folder = cache_folder() / "models" / name
    return folder if all((folder / file).is_file() for file in SPEECH_CATALOGUE[name].sha256) else None


def cached_speech_model(name: str) -> Path:
    """A catalogue model's folder; the test is skipped where it has not been fetched."""
    pytest.importorskip("sherpa_onnx", reason="pip install 'edgedesk[perception]'")
    folder = find_speech_model(name)
    if folder is None:
        pytest.skip(f"the speech model is not cached: edgedesk models fetch {name}")
    return folder


def reciting_recogniser(folder: Path, sentence: str = CHINESE_TEXT) -> Path:
    """A model of SenseVoice's interface that recites a sentence, its characters spread over what is said."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    symbols = ["<blank>", "<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|withitn|>", *dict.fromkeys(sentence)]
    tokens = np.array([symbols.index(char) for char in sentence], np.int64)
    vocabulary = np.eye(len(symbols), dtype=np.float32)
    constants: dict[str, NDArray[np.int64] | NDArray[np.float32]] = {
        "tokens": tokens,
        "vocabulary": vocabulary,
        "marks": np.arange(1, _MARKS + 1, dtype=np.int64),
        "count": np.array(len(tokens), np.int64),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "axis": np.array([0], np.int64),
    }
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "one"], ["frames"]),
            node("Range", ["zero", "frames", "one"], ["places"]),
            node("Mul", ["places", "count"], ["spread"]),
            node("Div", ["spread", "frames"], ["which"]),
            node("Gather", ["tokens", "which"], ["said"]),
            node("Concat", ["marks", "said"], ["all"], axis=0),
            node("Gather", ["vocabulary", "all"], ["rows"]),
            node("Unsqueeze", ["rows", "axis"], ["logits"]),
        ],
        "recites",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", _FEATURES]),
            *(helper.make_tensor_value_info(name, TensorProto.INT32, ["N"]) for name in ("x_length", "language")),
            helper.make_tensor_value_info("text_norm", TensorProto.INT32, ["N"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "L", len(symbols)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    languages = {f"lang_{lang}": str(number) for number, lang in enumerate(("auto", "zh", "en", "ja", "ko", "yue"))}
    helper.set_model_props(
        model,
        {
            "vocab_size": str(len(symbols)),
            "lfr_window_size": "7",
            "lfr_window_shift": "6",
            "normalize_samples": "0",
            "with_itn": "14",
            "without_itn": "15",
            **languages,
            "neg_mean": ",".join(["0"] * _FEATURES),
            "inv_stddev": ",".join(["1"] * _FEATURES),
        },
    )
    onnx.checker.check_model(model)
    folder.mkdir(parents=True)
    onnx.save(model, str(folder / "model.int8.onnx"))
    lines = (f"{symbol} {number}\n" for number, symbol in enumerate(symbols))
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def write_speech(folder: Path, *, english: bool = True, chinese: bool = True) -> SpeechModels:
    """A bundle's `speech/`: the real recogniser for English, the one that recites for Chinese."""
    folder.mkdir(parents=True)
    shutil.copy(cached_speech_model("silero-vad") / "silero_vad.onnx", folder)
    recognisers = []
    if english:
        source = cached_speech_model("moonshine-tiny-en")
        (folder / "en").mkdir()
        for name in ("encoder_model.ort", "decoder_model_merged.ort", "tokens.txt"):
            shutil.copy(source / name, folder / "en")
        recognisers.append(_described("en", "moonshine", "moonshine-tiny-en"))
    if chinese:
        reciting_recogniser(folder / "zh")
        recognisers.append(_described("zh", "sense-voice", "reciting-zh"))
    described = {"voice_activity": "silero_vad.onnx", "recognisers": recognisers}
    (folder / "speech.json").write_text(json.dumps(described), encoding="utf-8")
    return open_speech_models(folder)


def _described(lang: str, family: str, name: str) -> dict[str, str]:
    return {"language": lang, "family": family, "name": name, "licence": "MIT", "folder": lang}


@pytest.fixture(scope="session")
def speech_models(tmp_path_factory: pytest.TempPathFactory) -> SpeechModels:
    """Recognisers for both languages."""
    return write_speech(tmp_path_factory.mktemp("speech models") / "speech")


def samples_of(path: Path) -> NDArray[np.int16]:
    """A recording's samples at 16 kHz."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == 16_000
    return np.asarray(samples)


def wav(samples: NDArray[np.int16], rate: int = 16_000, channels: int = 1) -> bytes:
    """A plain WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()
