"""A recording → what is said in it, by the recognisers of a bundle, in a process with bounded memory and time.

Promises: nothing of the recording is stored; the recogniser's memory is given back when it has been heard.
"""

from __future__ import annotations

import time

from runtime.errors import InputError
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText
from runtime.perception.bounded_child import ChildHandle, ChildLimits, need_extra, run_bounded
from runtime.perception.speech_child import SpeechRequest
from runtime.perception.speech_models import SpeechModels

SPEECH_MODULES = ("sherpa_onnx", "soundfile", "soxr")
RECORDING_LIMITS = ChildLimits(wall_s=120, memory_mib=1536)
"""Three minutes of speech are read in 25 s of one core by Moonshine tiny, which takes 0.4 GB; SenseVoice takes 0.6."""


def hear_recording(
    recording: Attachment,
    models: SpeechModels,
    lang: str | None = None,
    *,
    limits: ChildLimits = RECORDING_LIMITS,
    child: ChildHandle | None = None,
) -> AttachmentText:
    """What is said in a recording, in `lang` or the bundle's first language that can be heard; `child` ends it before.

    `MissingError` where the extra or a recogniser is missing, `InputError` where the recording cannot be used.
    """
    if recording.kind != "recording":
        raise InputError("a picture, not a recording", where=recording.name, hint="send WAV, FLAC, OGG or MP3")
    need_extra(*SPEECH_MODULES, what="hearing a recording")
    models.files(models.recogniser(lang))
    request = SpeechRequest(folder=models.folder, lang=lang, threads=limits.threads)
    began = time.monotonic()
    said = run_bounded(
        "runtime.perception.speech_child",
        request.model_dump(mode="json"),
        recording.data,
        limits,
        where=recording.name,
        handle=child,
    )
    heard = AttachmentText.model_validate(said)
    return heard.model_copy(update={"seconds": round(time.monotonic() - began, 2)})
