"""The process behind `runtime.perception.live_speech`: samples on its standard input, lines of JSON on its output.

Promises: what is said is read again whenever it has caught up with the sound, never in spite of sound that waits: on a
busy machine text comes more seldom, not later and later.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator

import numpy as np

from runtime.errors import EdgedeskError, InputError
from runtime.perception.attachment_text import TextLine, bounded_lines
from runtime.perception.audio import MAX_SECONDS, RATE
from runtime.perception.bounded_child import take_bounds
from runtime.perception.live_speech import LIVE_MEMORY_MIB, LIVE_WALL_S, SAMPLE_BYTES, LiveText
from runtime.perception.speech_child import SpeechRequest
from runtime.perception.speech_models import open_speech_models
from runtime.perception.speech_recogniser import SpeechRecogniser, SpeechSession

_READ_BYTES = RATE * SAMPLE_BYTES // 10
_STEP_S = 0.5
"""New sound after which the passage is read again."""


def listen(request: SpeechRequest) -> Iterator[LiveText]:
    """Read sound until it ends; what has been said so far whenever that has changed, the last `final`."""
    models = open_speech_models(request.folder)
    session = SpeechSession(SpeechRecogniser(models, request.lang, threads=request.threads), models.voice_activity)
    said, read_s, half = "", 0.0, b""
    while session.seconds < MAX_SECONDS and (data := os.read(0, _READ_BYTES)):
        data = half + data
        whole = len(data) // SAMPLE_BYTES * SAMPLE_BYTES
        half = data[whole:]
        session.accept(np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768))
        if session.seconds - read_s < _STEP_S or select.select([0], [], [], 0)[0]:
            continue
        read_s = session.seconds
        if (text := _joined(session.lines, session.unfinished())) != said:
            said = text
            yield LiveText(text=text, seconds=round(read_s, 2))
    yield LiveText(text=_joined(session.finish()), seconds=round(session.seconds, 2), final=True)


def _joined(lines: list[TextLine], unfinished: str = "") -> str:
    """The bounded text of every passage."""
    kept, _ = bounded_lines([*lines, TextLine(text=unfinished)])
    return " ".join(line.text for line in kept)


def main() -> None:
    """The life of the process: read the request, take the bounds, listen."""
    # Byte by byte: what a buffer took besides the request would be missing from the sound.
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    take_bounds(LIVE_MEMORY_MIB, LIVE_WALL_S)
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # a library that prints must not write between the lines
        try:
            for said in listen(SpeechRequest.model_validate_json(line)):
                out.write(said.model_dump_json().encode() + b"\n")
                out.flush()
        except EdgedeskError as error:
            out.write(json.dumps(error.to_dict()).encode() + b"\n")
        except MemoryError:
            full = InputError("hearing needs too much memory", hint="say less at a time, or type the question")
            out.write(json.dumps(full.to_dict()).encode() + b"\n")
    os._exit(0)  # no destructor of a library that heard this runs


if __name__ == "__main__":
    main()
