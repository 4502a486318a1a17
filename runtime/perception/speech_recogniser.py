"""Speech → text, by sherpa-onnx: a voice activity detector finds stretches of speech, a recogniser reads them.

Stretches with short pauses between them are read together as one passage: a recogniser that sees the words around a
pause hears them better. A passage that is still being spoken is read as far as it goes, so that text appears while
somebody speaks. Promises: sound without speech is never given to a recogniser, which would invent words for it; a
passage is at most `MAX_PASSAGE_S` long. Runs in a child with bounded memory and time. Knows nothing of files, desks and
microphones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtime.perception.attachment_text import Interval, TextLine
from runtime.perception.audio import RATE, Samples
from runtime.perception.speech_models import RecogniserFamily, SpeechModels, SpeechRecogniserInfo

MAX_PASSAGE_S = 15
"""Moonshine loses words beyond about 30 s, and reading a passage again while it is spoken takes time in its length."""
_WINDOW = 512
"""Samples that Silero VAD reads at a time, at 16 kHz."""
_BUFFER_S = 60
_PAD = RATE * 3 // 10
"""Samples before and after a passage that are read too: a detector wakes up late, and cuts soft consonants off."""
_LOOK_BACK = 2 * RATE
"""Samples before its notice of speech that a detector may still count to it."""


class SpeechRecogniser:
    """One recogniser, loaded."""

    def __init__(self, models: SpeechModels, lang: str | None, *, threads: int) -> None:
        info = models.recogniser(lang)
        self.info: SpeechRecogniserInfo = info
        self._recogniser = _LOADERS[info.family](models.files(info), info.language, threads)

    def text(self, samples: Samples) -> str:
        """What is said in samples at 16 kHz."""
        stream = self._recogniser.create_stream()
        stream.accept_waveform(RATE, samples)
        self._recogniser.decode_stream(stream)
        return str(stream.result.text).strip()


class SpeechSession:
    """What one person says, from its first sample to its last."""

    def __init__(self, recogniser: SpeechRecogniser, voice_activity: Path) -> None:
        import sherpa_onnx  # in the child alone: it carries 30 MB of libraries

        config = sherpa_onnx.VadModelConfig(
            silero_vad=sherpa_onnx.SileroVadModelConfig(
                model=str(voice_activity), window_size=_WINDOW, max_speech_duration=MAX_PASSAGE_S
            ),
            sample_rate=RATE,
        )
        self._activity = sherpa_onnx.VoiceActivityDetector(config, buffer_size_in_seconds=_BUFFER_S)
        self._recogniser = recogniser
        self._passage: tuple[int, int] | None = None
        """First and last sample of what will be read together."""
        self._kept = np.zeros(_PAD, np.float32)
        """Samples that may have to be read; silence stands before the first."""
        self._first = -_PAD
        """The number of the first of them."""
        self._rest = np.zeros(0, np.float32)
        """Samples that do not fill a window yet."""
        self.lines: list[TextLine] = []
        """The passages that are over."""

    @property
    def seconds(self) -> float:
        """How much has been listened to."""
        return (self._first + len(self._kept)) / RATE

    def accept(self, samples: Samples) -> None:
        """Listen to more samples at 16 kHz."""
        self._kept = np.concatenate((self._kept, samples))
        waiting = np.concatenate((self._rest, samples))
        whole = len(waiting) // _WINDOW * _WINDOW
        for start in range(0, whole, _WINDOW):
            self._activity.accept_waveform(waiting[start : start + _WINDOW])
        self._rest = waiting[whole:]
        self._take_stretches()

    def unfinished(self) -> str:
        """What is said so far in the passage that is not over; empty where there is none."""
        if self._passage is not None:
            start = self._passage[0]
        elif self._activity.is_speech_detected():
            start = self._activity.current_segment.start
        else:
            return ""
        return self._read(start, self._first + len(self._kept))

    def finish(self) -> list[TextLine]:
        """End what is being spoken; every passage with its time."""
        self._activity.accept_waveform(np.pad(self._rest, (0, _WINDOW - len(self._rest))))
        self._rest = self._rest[:0]
        self._activity.flush()
        self._take_stretches()
        self._end_passage()
        return self.lines

    def _take_stretches(self) -> None:
        while not self._activity.empty():
            stretch = self._activity.front
            start, end = stretch.start, stretch.start + len(stretch.samples)
            self._activity.pop()
            if self._passage is not None and end - self._passage[0] > MAX_PASSAGE_S * RATE:
                self._end_passage()
            self._passage = (self._passage[0] if self._passage else start, end)
        if self._passage is None and not self._activity.is_speech_detected():
            self._forget(self._first + len(self._kept) - _LOOK_BACK)

    def _end_passage(self) -> None:
        if self._passage is None:
            return
        start, end = self._passage
        self._passage = None
        if text := self._read(start, end):
            interval = Interval(start_s=round(start / RATE, 2), end_s=round(end / RATE, 2))
            self.lines.append(TextLine(text=text, interval=interval))
        self._forget(end)

    def _read(self, start: int, end: int) -> str:
        """The text of samples `start` to `end`, read with `_PAD` more on both sides: silence where there is no more."""
        piece = self._kept[max(0, start - _PAD - self._first) : end + _PAD - self._first]
        return self._recogniser.text(np.pad(piece, (0, max(0, end - start + 2 * _PAD - len(piece)))))

    def _forget(self, before: int) -> None:
        """Drop samples that are in no passage to come, but for the padding of the next."""
        drop = max(0, before - _PAD - self._first)
        self._kept, self._first = self._kept[drop:], self._first + drop


def _moonshine(files: Mapping[str, Path], _: str, threads: int) -> Any:
    import sherpa_onnx

    return sherpa_onnx.OfflineRecognizer.from_moonshine_v2(
        encoder=str(files["encoder_model.ort"]),
        decoder=str(files["decoder_model_merged.ort"]),
        tokens=str(files["tokens.txt"]),
        num_threads=threads,
    )


def _sense_voice(files: Mapping[str, Path], language: str, threads: int) -> Any:
    import sherpa_onnx

    return sherpa_onnx.OfflineRecognizer.from_sense_voice(
        model=str(files["model.int8.onnx"]),
        tokens=str(files["tokens.txt"]),
        language=language,
        use_itn=True,  # figures as figures, and punctuation
        num_threads=threads,
    )


_LOADERS: Mapping[RecogniserFamily, Callable[[Mapping[str, Path], str, int], Any]] = {
    "moonshine": _moonshine,
    "sense-voice": _sense_voice,
}
