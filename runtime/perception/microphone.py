"""The microphone of this machine, through PortAudio (sounddevice).

Promises: it is open no longer than the block; a machine without PortAudio or without a microphone says so in one
sentence. Knows nothing of what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runtime.errors import MissingError
from runtime.perception.audio import RATE
from runtime.perception.bounded_child import need_extra

_BLOCKS_A_SECOND = 10


@contextmanager
def open_microphone(take: Callable[[bytes], None]) -> Iterator[None]:
    """Call `take` with 16-bit samples at `RATE` ten times a second, from a thread of PortAudio's, until the block ends.

    `MissingError` where there is no microphone that can be read.
    """
    sounddevice = _load()

    def arrived(data: Any, _frames: int, _time: Any, _status: Any) -> None:
        take(bytes(data))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=RATE, channels=1, dtype="int16", blocksize=RATE // _BLOCKS_A_SECOND, callback=arrived
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise _none(error) from None
    with stream:
        yield


def find_microphone() -> str:
    """The name of the microphone that would be taken, which is not opened; `MissingError` without one."""
    sounddevice = _load()
    try:
        return str(sounddevice.query_devices(kind="input")["name"])
    except (sounddevice.PortAudioError, ValueError) as error:
        raise _none(error) from None


def _load() -> Any:
    need_extra("sounddevice", what="a microphone")
    try:
        import sounddevice  # loads PortAudio, which not every machine has
    except OSError:
        raise MissingError(
            "PortAudio, which reads microphones, is not on this machine", hint="apt-get install libportaudio2"
        ) from None
    return sounddevice


def _none(error: Exception) -> MissingError:
    return MissingError(
        f"no microphone can be read here ({str(error).splitlines()[0][:80]})",
        hint="plug one in and choose it in the system's sound settings; or: edgedesk ask --audio FILE",
    )
