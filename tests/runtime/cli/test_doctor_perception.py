"""What `edgedesk doctor` says of pictures, speech and the microphone, on machines that have them and that do not."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from runtime.bundle.generations import current_bundle
from runtime.cli import doctor_perception
from runtime.cli.doctor import _examine
from runtime.cli.doctor_perception import look_at_microphone, look_at_pictures, look_at_speech
from runtime.errors import MissingError
from runtime.perception import bounded_child
from runtime.perception.speech_models import SpeechModels


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make packages look as if they were not installed."""

    def hide(*names: str) -> None:
        monkeypatch.setattr(bounded_child, "find_spec", lambda name: None if name in names else find_spec(name))

    return hide


def test_doctor_tells_which_pictures_are_read_and_what_to_install_otherwise(
    tmp_path: Path, without: Callable[..., None]
) -> None:
    assert look_at_pictures(tmp_path)[0] in (
        "PNG, JPEG, WebP, HEIC and PDF are read",
        "PNG, JPEG, WebP and PDF are read",
    )
    without("pi_heif")
    assert look_at_pictures(tmp_path)[1].endswith("pip install pi-heif")
    without("rapidocr")
    said, hint = look_at_pictures(tmp_path)
    assert said.startswith("not read here: reading pictures needs the extra 'perception'")
    assert hint.startswith("pip install 'edgedesk[perception]'")
    found = _examine("pictures", look_at_pictures, tmp_path)
    assert (found.ok, found.said, found.hint) == (True, said, hint), "a branch without eyes is a sound branch"


def test_doctor_names_a_model_that_the_recogniser_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_perception, "missing_models", lambda: [tmp_path / "PP-OCRv6_det_small.onnx"])
    found = _examine("pictures", look_at_pictures, tmp_path)
    assert not found.ok
    assert "PP-OCRv6_det_small.onnx is not there" in found.said
    assert found.hint


def test_doctor_tells_which_languages_are_heard_and_what_to_install_otherwise(
    make_home: Callable[..., Path],
    scripted_gguf: Path,
    speech_models: SpeechModels,
    without: Callable[..., None],
) -> None:
    home = make_home(scripted_gguf, speech=speech_models.folder)
    assert look_at_speech(home) == ("heard in en (moonshine-tiny-en), zh (reciting-zh)", "")
    without("sherpa_onnx")
    said, hint = look_at_speech(home)
    assert "needs the extra 'perception'" in said
    assert "the bundle carries en (moonshine-tiny-en), zh (reciting-zh)" in said
    assert "edgedesk[perception]" in hint
    lost = next((current_bundle(home).root / "speech").rglob("tokens.txt"))
    lost.unlink()
    found = _examine("speech", look_at_speech, home)
    assert not found.ok
    assert "a file of the recogniser is not there" in found.said


def test_doctor_of_a_bundle_that_hears_nothing_says_what_head_office_adds(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    said, hint = look_at_speech(make_home(scripted_gguf))
    assert said == "not heard here: this branch's bundle carries no recogniser, so it cannot hear"
    assert "[speech]" in hint


def test_doctor_names_the_microphone_or_what_is_missing_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: Callable[..., None]
) -> None:
    monkeypatch.setattr("runtime.perception.microphone.find_microphone", lambda: "Headset 耳机")
    assert look_at_microphone(tmp_path) == ("Headset 耳机", "")

    def none() -> str:
        raise MissingError("no microphone can be read here (x)", hint="plug one in")

    monkeypatch.setattr("runtime.perception.microphone.find_microphone", none)
    assert look_at_microphone(tmp_path) == ("none: no microphone can be read here (x)", "plug one in")
    monkeypatch.undo()
    without("sounddevice")
    said, hint = look_at_microphone(tmp_path)
    assert said.startswith("none: ")
    assert hint
