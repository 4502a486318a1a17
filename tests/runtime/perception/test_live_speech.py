"""Text while somebody speaks: through the real process and the real recogniser."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runtime.errors import MissingError, ModelError
from runtime.perception.live_speech import LiveSpeech, LiveText
from runtime.perception.speech_models import SpeechModels
from tests.support.speech import ENGLISH, ENGLISH_TEXT, samples_of

BLOCK = 3200
"""A tenth of a second, in bytes."""


async def test_text_comes_while_speech_goes_on_and_ends_final(speech_models: SpeechModels) -> None:
    pcm = samples_of(ENGLISH).tobytes()
    half = len(pcm) // 2 // BLOCK * BLOCK
    said: list[LiveText] = []
    async with LiveSpeech(speech_models, "en") as speech:
        for start in range(0, half, BLOCK):
            speech.hear(pcm[start : start + BLOCK])
        async for text in speech.texts():
            if not said:  # the second half is spoken only once the first was heard
                for start in range(half, len(pcm), BLOCK):
                    speech.hear(pcm[start : start + BLOCK])
                speech.end()
            said.append(text)
    assert said[-1] == LiveText(text=ENGLISH_TEXT, seconds=said[-1].seconds, final=True)
    assert not said[0].final
    assert said[0].text
    assert said[0].seconds <= half / 32_000
    assert all(one.seconds <= other.seconds for one, other in pairwise(said))


async def test_silence_ends_in_no_words(speech_models: SpeechModels) -> None:
    async with LiveSpeech(speech_models, "zh") as speech:
        speech.hear(bytes(64_000))
        speech.end()
        assert [text.text async for text in speech.texts()] == [""]


async def test_process_that_dies_is_one_error(speech_models: SpeechModels) -> None:
    async with LiveSpeech(speech_models, "en") as speech:
        assert speech._process is not None
        speech._process.kill()
        with pytest.raises(ModelError, match="ended unexpectedly"):
            async for _ in speech.texts():
                pass
        speech.hear(bytes(BLOCK))  # a microphone does not know yet


def test_language_without_a_recogniser_is_said_before_anything_starts(speech_models: SpeechModels) -> None:
    with pytest.raises(MissingError, match="no recogniser for 'fr'"):
        LiveSpeech(speech_models, "fr")
