"""A recording's bytes → mono samples at 16 kHz, in bounded memory; a file that is no usable recording is refused.

libsndfile decodes (WAV of every depth, FLAC, Ogg, MP3) and soxr resamples, both block by block, so that neither a long
recording nor a header that promises one decides how much memory is taken. Promises: samples are finite and within -1 to
1. Runs in the child of `runtime.perception.bounded_child` only: the decoders are C. Knows nothing of speech.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError

RATE = 16_000
"""What recognisers and voice activity detectors are trained on, in samples a second."""
MAX_SECONDS = 180
"""A spoken question takes seconds; what is longer is a conversation, and its text would not fit a question."""
MIN_SECONDS = 0.1
MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 8
_BLOCK_FRAMES = 1 << 16
_UNKNOWN_LENGTH = 0x7FFF_F000
"""Programs that write WAV into a pipe put this or more where the length belongs: they do not know it yet."""

Samples = NDArray[np.float32]


def decode_audio(data: bytes, *, max_seconds: float = MAX_SECONDS) -> Samples:
    """The recording as float32 samples at `RATE`, all channels mixed; `InputError` saying why it cannot be used."""
    import soundfile  # in the child alone

    _check_length(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check_form(file.samplerate, file.channels)
            return _read(file, max_seconds)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise InputError(
            f"not a recording that can be read ({_reason(error)})",
            hint="save it as WAV, FLAC, OGG or MP3",
        ) from None


def _reason(error: Exception) -> str:
    """The library's words without the name that Python gave the bytes."""
    return str(error).rpartition(">: ")[2].strip(". ")[:80]


def _read(file: object, max_seconds: float) -> Samples:
    import soundfile
    import soxr

    assert isinstance(file, soundfile.SoundFile)
    rate = file.samplerate
    resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
    blocks: list[Samples] = []
    frames = 0
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > max_seconds * rate:
            raise InputError(
                f"longer than {max_seconds:.0f} s, the most that is listened to", hint="record the question alone"
            )
        if not np.isfinite(block).all():
            raise InputError("holds values that are no sound (NaN or infinite)", hint="record it again")
        blocks.append(resampler.resample_chunk(block.clip(-1, 1).mean(axis=1)))
    if not frames:
        raise InputError("holds no sound", hint="record the question again")
    if frames < MIN_SECONDS * rate:
        raise InputError(f"only {frames / rate:.2f} s of sound", hint="record the question again")
    blocks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(blocks)


def _check_form(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(
            f"{rate:,} samples a second, where {MIN_RATE:,} to {MAX_RATE:,} can be heard", hint="record at 16,000"
        )
    if channels > MAX_CHANNELS:
        raise InputError(f"{channels} channels, {MAX_CHANNELS} are allowed", hint="record in mono")


def _check_length(data: bytes) -> None:
    """Refuse a WAV file that has lost its end; libsndfile would read on as if the speaker had stopped there."""
    if data[:4] == b"RIFF" and (said := int.from_bytes(data[4:8], "little")) < _UNKNOWN_LENGTH and said + 8 > len(data):
        raise InputError(
            f"cut short: its header says {said + 8:,} bytes, {len(data):,} are there", hint="copy or record it again"
        )
