"""Recordings as people and attackers make them: read whole and at the right rate, or refused in one sentence."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.perception.audio import MAX_SECONDS, RATE, decode_audio
from tests.support.speech import wav

soundfile = pytest.importorskip("soundfile", reason="pip install 'edgedesk[perception]'")
TONE_HZ = 440.0


def tone(rate: int, seconds: float = 1.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(int(rate * seconds)) / rate)


def encoded(samples: Any, rate: int, form: str, subtype: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype", "rate"),
    [
        ("WAV", "PCM_U8", 8_000),
        ("WAV", "PCM_16", 44_100),
        ("WAV", "PCM_24", 48_000),
        ("WAV", "PCM_32", 16_000),
        ("WAV", "FLOAT", 22_050),
        ("WAV", "DOUBLE", 96_000),
        ("WAV", "ULAW", 8_000),
        ("FLAC", "PCM_24", 48_000),
        ("OGG", "VORBIS", 44_100),
        ("OGG", "OPUS", 48_000),
        ("MP3", "MPEG_LAYER_III", 44_100),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_recording_of_any_form_becomes_one_channel_at_16_khz(form: str, subtype: str, rate: int, channels: int) -> None:
    samples = np.repeat(tone(rate)[:, None], channels, axis=1)
    heard = decode_audio(encoded(samples, rate, form, subtype))
    assert heard.dtype == np.float32
    assert abs(len(heard) - RATE) < RATE // 10  # codecs pad
    middle = heard[RATE // 4 : RATE // 4 + RATE // 2]
    peak = np.argmax(np.abs(np.fft.rfft(middle))) * RATE / len(middle)
    assert abs(peak - TONE_HZ) <= 2
    assert 0.3 < float(np.abs(middle).max()) < 0.7


def with_nan(value: float) -> bytes:
    samples = tone(RATE).astype(np.float32)
    samples[RATE // 2] = value
    return encoded(samples, RATE, "WAV", "FLOAT")


def header(
    rate: int = RATE, channels: int = 1, bits: int = 16, data_size: int | None = None, data: bytes = b""
) -> bytes:
    """A WAV header that says what it is told to say."""
    size = len(data) if data_size is None else data_size
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", 1, channels, rate, (rate * block) & 0xFFFFFFFF, block, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size) + data
    riff = len(body) if data_size is None else (len(body) - len(data) + size) & 0xFFFFFFFF
    return b"RIFF" + struct.pack("<I", riff) + body


def hours() -> bytes:
    """Ten hours of silence in a few hundred kilobytes."""
    return encoded(np.zeros(8_000 * 3600 * 2, np.int16), 8_000, "FLAC", "PCM_16")


def renamed_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.txt", "not sound")
    return out.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not a recording"),
    "no sample": (lambda: wav(np.zeros(0, np.int16)), r"holds no sound"),
    "a blink": (lambda: wav(np.ones(100, np.int16)), r"only 0\.01 s"),
    "hours": (hours, f"longer than {MAX_SECONDS} s"),
    "a little too long": (lambda: wav(np.zeros(MAX_SECONDS * 8_000 + 8_000, np.int16), 8_000), "longer than"),
    "NaN": (lambda: with_nan(np.nan), "NaN or infinite"),
    "infinite": (lambda: with_nan(np.inf), "NaN or infinite"),
    "one sample a second": (lambda: header(rate=1, data=b"\0\0" * 100), "1 samples a second"),
    "four billion samples a second": (
        lambda: header(rate=0xFFFFFFFF, data=b"\0\0" * 100),
        "samples a second|not a rec",
    ),
    "no rate": (lambda: header(rate=0, data=b"\0\0" * 100), "samples a second|not a recording"),
    "300 channels": (lambda: header(channels=300, data=b"\0" * 60_000), "300 channels"),
    "no channel": (lambda: header(channels=0, data=b"\0" * 64), "not a recording"),
    "17 bits": (lambda: header(bits=17, data=b"\0" * 64), "not a recording|only"),
    "lost its end": (lambda: wav(np.ones(RATE, np.int16))[:RATE], "cut short"),
    "promises a gigabyte": (lambda: header(data_size=1 << 30, data=b"\0\0" * 100), "cut short"),
    "header alone": (lambda: wav(np.ones(RATE, np.int16))[:20], "cut short"),
    "text": (lambda: b"How long do I have to return something?" * 10, "not a recording"),
    "an archive": (renamed_zip, "not a recording"),
    "FLAC in name only": (lambda: b"fLaC" + bytes(1000), "not a recording"),
    "Ogg in name only": (lambda: b"OggS" + bytes(range(256)) * 8, "not a recording"),
    "MP3 in name only": (lambda: b"ID3" + bytes(1000), "not a recording"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_recording_that_cannot_be_used_is_refused_in_a_sentence(name: str) -> None:
    make, said = HOSTILE[name]
    with pytest.raises(InputError, match=said) as refused:
        decode_audio(make())
    assert refused.value.hint
    assert "object at" not in str(refused.value)


def test_length_that_a_pipe_did_not_know_is_no_fault() -> None:
    """espeak-ng --stdout, sox and ffmpeg write 0x7ffff000 and more where the length belongs."""
    data = (tone(RATE) * 20_000).astype("<i2").tobytes()
    for unknown in (0x7FFF_F024, 0xFFFF_FFFF):
        said = bytearray(header(data_size=0x7FFF_F000, data=data))
        said[4:8] = struct.pack("<I", unknown)
        assert len(decode_audio(bytes(said))) == RATE


def test_samples_beyond_full_scale_are_cut_to_it() -> None:
    heard = decode_audio(encoded((tone(RATE) * 1e6).astype(np.float32), RATE, "WAV", "FLOAT"))
    assert float(np.abs(heard).max()) <= 1.0
