"""From a recipe's `[speech]` to the bundle's `speech/`: nothing gets in that was not pinned."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from distill.pipeline.speech_folder import check_speech, write_speech_folder
from distill.recipe.speech_settings import Speech
from runtime.errors import IntegrityError, MissingError, UsageError
from runtime.perception.speech_models import open_speech_models
from tests.support.speech import cached_speech_model, reciting_recogniser


@pytest.fixture
def chinese(tmp_path: Path) -> Path:
    return reciting_recogniser(tmp_path / "sense voice")


def pinned(folder: Path) -> dict[str, object]:
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    return {"language": "zh", "family": "sense-voice", "folder": folder, "licence": "MIT", "sha256": hashes}


def test_speech_folder_holds_the_recognisers_and_their_licences(chinese: Path, tmp_path: Path) -> None:
    cached_speech_model("silero-vad")
    cached_speech_model("moonshine-tiny-en")
    wanted = Speech.model_validate(
        {"recognisers": [{"language": "en", "model": "moonshine-tiny-en"}, {**pinned(chinese), "name": "reciting"}]}
    )
    write_speech_folder(wanted, tmp_path / "speech", lambda _: None)
    models = open_speech_models(tmp_path / "speech")
    assert models.languages == ("en", "zh")
    assert [(one.name, one.licence) for one in models.info.recognisers] == [
        ("moonshine-tiny-en", "MIT"),
        ("reciting", "MIT"),
    ]
    for one in models.info.recognisers:
        assert all(path.is_file() for path in models.files(one).values())
    assert (tmp_path / "speech" / "en" / "LICENSE").is_file()
    assert (tmp_path / "speech" / "LICENSE").is_file()


def test_file_that_is_not_the_pinned_one_is_refused_before_anything_is_made(chinese: Path, tmp_path: Path) -> None:
    wanted = Speech.model_validate({"recognisers": [pinned(chinese)]})
    (chinese / "tokens.txt").write_text("<blank> 0\n", encoding="utf-8")
    for call in (lambda: check_speech(wanted), lambda: write_speech_folder(wanted, tmp_path / "out", lambda _: None)):
        with pytest.raises(IntegrityError, match=r"tokens\.txt is not the file that the recipe pins") as refused:
            call()
        assert refused.value.where == "speech.recognisers[0].sha256"
    assert not (tmp_path / "out").exists()
    (chinese / "tokens.txt").unlink()
    with pytest.raises(MissingError, match=r"tokens\.txt is not there"):
        check_speech(wanted)


def test_recogniser_that_nobody_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no recogniser 'huge'") as refused:
        check_speech(Speech.model_validate({"recognisers": [{"language": "en", "model": "huge"}]}))
    assert "moonshine-tiny-en" in refused.value.hint
    with pytest.raises(UsageError, match="no recogniser 'silero-vad'"):
        check_speech(Speech.model_validate({"recognisers": [{"language": "en", "model": "silero-vad"}]}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "moonshine-tiny-en"}, "give model"),
        ({"folder": None}, "give model"),
        ({"family": None}, "folder needs family"),
        ({"licence": None}, "folder needs family"),
        ({"sha256": {}}, r"sha256 lacks model\.int8\.onnx"),
        ({"sha256": {"model.int8.onnx": "short"}}, "pattern"),
        ({"language": "Chinese"}, "two-letter"),
    ],
)
def test_recogniser_that_is_half_named_is_refused(change: dict[str, object], said: str, chinese: Path) -> None:
    with pytest.raises(ValidationError, match=said):
        Speech.model_validate({"recognisers": [{**pinned(chinese), **change}]})


def test_language_has_one_recogniser() -> None:
    twice = [{"language": "en", "model": "moonshine-tiny-en"}] * 2
    with pytest.raises(ValidationError, match="two recognisers for 'en'"):
        Speech.model_validate({"recognisers": twice})
