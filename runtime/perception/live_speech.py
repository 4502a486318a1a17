"""What somebody is saying, as text while they say it: samples of a microphone in, text out, through a child process.

    async with LiveSpeech(models, "en") as speech:
        speech.hear(pcm)                     16-bit samples at 16 kHz, from any piece of the loop
        speech.end()                         nobody speaks any more
        async for said in speech.texts():    `LiveText`: the text so far, the last one `final`

Promises: the recogniser is loaded for one passage of speech and its memory given back afterwards; a process that hangs
or dies ends in one error; nothing that was said is stored. Knows nothing of microphones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict

from runtime.base.child_process import child_environment, module_command
from runtime.errors import ModelError, UnavailableError, from_dict
from runtime.perception.audio import MAX_SECONDS, RATE
from runtime.perception.bounded_child import need_extra
from runtime.perception.hear_recording import RECORDING_LIMITS, SPEECH_MODULES
from runtime.perception.speech_child import SpeechRequest
from runtime.perception.speech_models import SpeechModels

SAMPLE_BYTES = 2
LIVE_MEMORY_MIB = RECORDING_LIMITS.memory_mib
LIVE_WALL_S = MAX_SECONDS + 60
"""The longest that is listened to, and time to load the recogniser and to read the end."""


class LiveText(BaseModel):
    """What has been said so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    seconds: float
    """How much of the sound it comes from."""
    final: bool = False


class LiveSpeech:
    """One person speaking, from the press of a key to its release."""

    def __init__(self, models: SpeechModels, lang: str | None = None, *, threads: int = 1) -> None:
        """`MissingError` where the extra or a recogniser is missing."""
        need_extra(*SPEECH_MODULES, what="hearing speech")
        models.files(models.recogniser(lang))
        self._request = SpeechRequest(folder=models.folder, lang=lang, threads=threads)
        self._process: asyncio.subprocess.Process | None = None
        self._ended = False

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *module_command("runtime.perception.live_speech_child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=child_environment(OMP_NUM_THREADS=str(self._request.threads), PYTHONDONTWRITEBYTECODE="1"),
        )
        self._write(self._request.model_dump_json().encode() + b"\n")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._started()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def hear(self, pcm: bytes) -> None:
        """More sound: 16-bit little-endian samples of one channel at `RATE`."""
        if not self._ended:
            self._write(pcm)

    def end(self) -> None:
        """Nobody speaks any more; what was said last is read to its end."""
        self._ended = True
        stdin = self._started().stdin
        assert stdin is not None
        stdin.close()

    async def texts(self) -> AsyncIterator[LiveText]:
        """The text whenever it has changed; the last is `final`. Raises the error that ended the process."""
        stdout = self._started().stdout
        assert stdout is not None
        try:
            async with asyncio.timeout(LIVE_WALL_S):
                while line := await stdout.readline():
                    said = json.loads(line)
                    if "error" in said:
                        raise from_dict(said)
                    text = LiveText.model_validate(said)
                    yield text
                    if text.final:
                        return
        except TimeoutError:
            raise UnavailableError("hearing took too long", hint="type the question") from None
        except ValueError:
            pass
        raise ModelError("the recogniser ended unexpectedly", hint="try again, or type the question")

    def _write(self, data: bytes) -> None:
        stdin = self._started().stdin
        assert stdin is not None
        with suppress(ConnectionError):  # `texts` says how it ended
            stdin.write(data)

    def _started(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "use it in `async with`"
        return self._process


def seconds_of(pcm: bytes) -> float:
    """How long 16-bit samples at `RATE` sound."""
    return len(pcm) / SAMPLE_BYTES / RATE
