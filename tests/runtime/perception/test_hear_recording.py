"""A recording through the real engine: what is said comes back, and nothing else ever does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import InputError, MissingError
from runtime.perception.attachment import attach, read_attachment
from runtime.perception.hear_recording import RECORDING_LIMITS, hear_recording
from runtime.perception.speech_models import SpeechModels, open_speech_models
from tests.support.speech import CHINESE, CHINESE_TEXT, ENGLISH, ENGLISH_TEXT, samples_of, wav


@pytest.mark.parametrize(("lang", "path", "text"), [("en", ENGLISH, ENGLISH_TEXT), ("zh", CHINESE, CHINESE_TEXT)])
def test_spoken_question_is_heard_with_its_time(lang: str, path: Path, text: str, speech_models: SpeechModels) -> None:
    heard = hear_recording(read_attachment(path), speech_models, lang)
    assert heard.text == text
    assert heard.kind == "recording"
    (line,) = heard.lines
    assert line.interval is not None
    assert heard.duration_s is not None
    assert 0 <= line.interval.start_s < line.interval.end_s <= heard.duration_s + 0.1


def test_language_that_nobody_has_named_is_the_first(speech_models: SpeechModels) -> None:
    assert hear_recording(read_attachment(ENGLISH), speech_models).text == ENGLISH_TEXT


def test_sound_without_speech_gives_no_words(speech_models: SpeechModels) -> None:
    """The recogniser for Chinese recites whatever it is given: what it is not given is what counts."""
    rng = np.random.default_rng(5)
    seconds = np.arange(3 * 16_000) / 16_000
    for sound in (
        np.zeros(48_000),
        rng.normal(0, 300, 48_000),
        8_000 * np.sin(2 * np.pi * 1000 * seconds),
    ):
        with pytest.raises(InputError, match="no speech was heard"):
            hear_recording(attach(wav(sound.astype(np.int16)), "q.wav"), speech_models, "zh")


def test_long_speech_is_read_in_passages(speech_models: SpeechModels) -> None:
    question = np.concatenate([samples_of(CHINESE), np.zeros(16_000, np.int16)])
    heard = hear_recording(attach(wav(np.tile(question, 10)), "q.wav"), speech_models, "zh")
    assert len(heard.lines) >= 2
    assert heard.text.count(CHINESE_TEXT) == len(heard.lines)
    intervals = [line.interval for line in heard.lines]
    assert all(one and other and one.end_s <= other.start_s for one, other in pairwise(intervals))


def test_recording_that_takes_too_long_or_too_much_is_given_up(speech_models: SpeechModels) -> None:
    recording = read_attachment(ENGLISH)
    with pytest.raises(InputError, match="took more than 0 s"):
        hear_recording(recording, speech_models, limits=replace(RECORDING_LIMITS, wall_s=0.05))
    with pytest.raises(InputError, match=r"cannot be read|too much memory"):
        hear_recording(recording, speech_models, limits=replace(RECORDING_LIMITS, memory_mib=48))


def test_picture_is_no_recording(speech_models: SpeechModels) -> None:
    with pytest.raises(InputError, match="a picture, not a recording"):
        hear_recording(attach(b"\x89PNG\r\n\x1a\n" + bytes(64), "r.png"), speech_models)


def test_what_is_missing_is_said_with_what_to_do(
    speech_models: SpeechModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="no recogniser for 'fr'") as refused:
        hear_recording(read_attachment(ENGLISH), speech_models, "fr")
    assert "it hears en, zh" in refused.value.hint
    with pytest.raises(MissingError, match="carries no recogniser") as refused:
        open_speech_models(tmp_path / "speech")
    assert "[speech]" in refused.value.hint
    monkeypatch.setattr("runtime.perception.bounded_child.find_spec", lambda _: None)
    with pytest.raises(MissingError, match="needs the extra 'perception'") as refused:
        hear_recording(read_attachment(ENGLISH), speech_models)
    assert "edgedesk[perception]" in refused.value.hint


def test_file_of_a_recogniser_that_is_gone_is_named(speech_models: SpeechModels, tmp_path: Path) -> None:
    folder = shutil.copytree(speech_models.folder, tmp_path / "speech")
    (folder / "zh" / "tokens.txt").unlink()
    models = open_speech_models(folder)
    with pytest.raises(MissingError, match="a file of the recogniser is not there"):
        hear_recording(read_attachment(CHINESE), models, "zh")


@pytest.mark.parametrize("name", ["../../etc", "/etc", "en/../../x"])
def test_description_that_leads_outside_is_refused(name: str, speech_models: SpeechModels, tmp_path: Path) -> None:
    described = json.loads(speech_models.info.model_dump_json())
    described["recognisers"][0]["folder"] = name
    (tmp_path / "speech.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="outside"):
        open_speech_models(tmp_path)
