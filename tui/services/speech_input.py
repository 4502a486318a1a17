"""What the console needs to hear somebody speak: `SpeechInput` is the door, `MicrophoneInput` the real one.

Promises: the microphone is open and a recogniser loaded only while the agent has asked for it; what is missing for it
is an `EdgedeskError` that says what to do. Knows no widget.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from runtime.bundle.generations import current_bundle
from runtime.perception.live_speech import LiveSpeech, LiveText
from runtime.perception.microphone import open_microphone
from runtime.perception.speech_models import bundle_speech

OpenMicrophone = Callable[[Callable[[bytes], None]], AbstractContextManager[None]]


class Speaking(Protocol):
    """Somebody who is speaking."""

    def end(self) -> None:
        """They have finished."""
        ...

    def texts(self) -> AsyncIterator[LiveText]:
        """What they have said so far, whenever that changes; the last one is `final`."""
        ...


class SpeechInput(Protocol):
    """Where speech comes from."""

    def listen(self, lang: str) -> AbstractAsyncContextManager[Speaking]:
        """Listen, in that language if it can be heard. Raises an `EdgedeskError` where nothing can be heard."""
        ...


class MicrophoneInput:
    """The microphone of this machine, heard by the recognisers of a home's bundle."""

    def __init__(self, home: Path, microphone: OpenMicrophone = open_microphone) -> None:
        self._home = home
        self._microphone = microphone

    @asynccontextmanager
    async def listen(self, lang: str) -> AsyncIterator[Speaking]:
        """Open the microphone and start a recogniser."""
        models = await asyncio.to_thread(lambda: bundle_speech(current_bundle(self._home)))
        loop = asyncio.get_running_loop()
        async with LiveSpeech(models, lang if lang in models.languages else None) as speech:
            with self._microphone(lambda pcm: _hand_over(loop, speech, pcm)):
                yield speech


def _hand_over(loop: asyncio.AbstractEventLoop, speech: LiveSpeech, pcm: bytes) -> None:
    """From PortAudio's thread to the loop, which may be closing."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(speech.hear, pcm)
