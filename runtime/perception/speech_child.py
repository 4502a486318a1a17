"""The process that hears a whole recording: bytes on its standard input, what was said as JSON on its output.

Started by `runtime.perception.hear_recording` through `bounded_child`. Promises: the recording is decoded before a
recogniser is loaded, so that what is no recording costs little.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from runtime.errors import InputError
from runtime.perception.attachment_text import AttachmentText, bounded_lines
from runtime.perception.audio import RATE, decode_audio
from runtime.perception.bounded_child import child_main
from runtime.perception.speech_models import open_speech_models
from runtime.perception.speech_recogniser import SpeechRecogniser, SpeechSession

_BLOCK = RATE


class SpeechRequest(BaseModel):
    """What is asked of a process that hears."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    """The bundle's `speech/`."""
    lang: str | None = None
    threads: int = 1


def hear(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    """What is said in a recording, as `AttachmentText`; `InputError` where it is no recording, or nobody speaks."""
    wanted = SpeechRequest.model_validate(request)
    samples = decode_audio(data)
    models = open_speech_models(wanted.folder)
    session = SpeechSession(SpeechRecogniser(models, wanted.lang, threads=wanted.threads), models.voice_activity)
    for start in range(0, len(samples), _BLOCK):
        session.accept(samples[start : start + _BLOCK])
    lines, cut = bounded_lines(session.finish())
    if not lines:
        raise InputError("no speech was heard in it", hint="record the question again, nearer to the microphone")
    return AttachmentText(kind="recording", lines=lines, duration_s=round(len(samples) / RATE, 2), cut=cut).model_dump(
        mode="json"
    )


if __name__ == "__main__":
    child_main(hear)
