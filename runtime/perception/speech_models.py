"""The recognisers that a bundle carries: its folder `speech/`, described by `speech.json`.

    speech/speech.json
    speech/silero_vad.onnx            tells speech from silence and noise
    speech/en/encoder_model.ort …     the files of one recogniser a language

Promises: the files have been hashed with the bundle's manifest before anything here opens them; a language without a
recogniser, and a bundle without any, end in a sentence that says what to do. Knows nothing of sherpa-onnx.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import read_text
from runtime.base.manifest import safe_path
from runtime.base.validation import first_problem
from runtime.bundle.bundle import Bundle, Label
from runtime.errors import InputError, MissingError

FOLDER = "speech"
DESCRIPTION = "speech.json"
RecogniserFamily = Literal["moonshine", "sense-voice"]
FAMILY_FILES: Mapping[RecogniserFamily, tuple[str, ...]] = {
    "moonshine": ("encoder_model.ort", "decoder_model_merged.ort", "tokens.txt"),
    "sense-voice": ("model.int8.onnx", "tokens.txt"),
}
"""The files of each family, by the names under which sherpa-onnx publishes them."""


def _inside(name: str) -> str:
    if not safe_path(name):
        raise ValueError("leads outside the folder")
    return name


class SpeechRecogniserInfo(BaseModel):
    """One recogniser of `speech.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = Field(pattern=r"^[a-z]{2}$")
    family: RecogniserFamily
    name: Label
    licence: Label
    folder: Annotated[str, AfterValidator(_inside)]
    """Below `speech/`."""


class SpeechInfo(BaseModel):
    """`speech.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice_activity: Annotated[str, AfterValidator(_inside)]
    """The file of the voice activity detector, a Silero VAD."""
    recognisers: tuple[SpeechRecogniserInfo, ...] = Field(min_length=1)
    """The first is the one for a speaker whose language nobody has said."""


class SpeechModels:
    """An opened `speech/` folder."""

    def __init__(self, folder: Path, info: SpeechInfo) -> None:
        self.folder = folder
        self.info = info

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that can be heard."""
        return tuple(one.language for one in self.info.recognisers)

    @property
    def voice_activity(self) -> Path:
        """The voice activity detector's file."""
        return self.folder / PurePosixPath(self.info.voice_activity)

    def recogniser(self, lang: str | None) -> SpeechRecogniserInfo:
        """The recogniser of a language, or the first where none is given; `MissingError` naming those there are."""
        if lang is None:
            return self.info.recognisers[0]
        for one in self.info.recognisers:
            if one.language == lang:
                return one
        raise MissingError(
            f"this bundle has no recogniser for '{lang}'",
            hint=f"it hears {', '.join(self.languages)}; head office adds one in the recipe's [speech]",
        )

    def files(self, recogniser: SpeechRecogniserInfo) -> dict[str, Path]:
        """A recogniser's files by name; `MissingError` naming the one that is not there."""
        files = {
            name: self.folder / PurePosixPath(recogniser.folder) / name for name in FAMILY_FILES[recogniser.family]
        }
        for path in (self.voice_activity, *files.values()):
            if not path.is_file():
                raise MissingError("a file of the recogniser is not there", where=str(path), hint="install it again")
        return files


def open_speech_models(folder: Path) -> SpeechModels:
    """Read a `speech/` folder; `MissingError` where there is none, `InputError` where its description does not fit."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise MissingError(
            "this branch's bundle carries no recogniser, so it cannot hear",
            hint="head office adds [speech] to the recipe and releases again; type the question until then",
        )
    try:
        return SpeechModels(folder, SpeechInfo.model_validate_json(read_text(path)))
    except ValidationError as error:
        problem = first_problem(error, "key", SpeechInfo)
        raise InputError(problem.sentence, where=str(path), hint="build the bundle again") from None


def carries_speech(bundle: Bundle) -> bool:
    """Whether a bundle has recognisers."""
    return (bundle.root / FOLDER / DESCRIPTION).is_file()


def bundle_speech(bundle: Bundle) -> SpeechModels:
    """The recognisers of a bundle; `MissingError` where it has none."""
    return open_speech_models(bundle.root / FOLDER)
