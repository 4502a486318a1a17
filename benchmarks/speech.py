"""Claim: a branch hears a question in at most half the time that it took to say it, on one core.

espeak-ng speaks hand-written questions of the example shop, clean and with white noise 10 dB below; each is heard as
the product hears it: decoder, voice activity detector, recogniser. Word errors of English and character errors of
Chinese are reported, without a bar: a synthetic voice says little of a customer's. Chinese needs a recogniser that no
package carries: `--chinese FOLDER` names one with SenseVoice's files, and without it Chinese is not measured. Text
while somebody speaks: how long after the sound the text that comes from it is there, spoken in real time.

    python benchmarks/speech.py [--chinese FOLDER] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import resource
import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _harness import SHOP, median, quantile
from numpy.typing import NDArray

from distill.models.speech_catalogue import fetch_speech_model
from distill.pipeline.speech_folder import write_speech_folder
from distill.recipe.speech_settings import RecogniserChoice, Speech
from runtime.base.files import sha256_file
from runtime.base.jsonl import read_rows
from runtime.base.progress import say
from runtime.feedback.edit_distance import levenshtein
from runtime.perception.attachment import attach
from runtime.perception.audio import RATE, decode_audio
from runtime.perception.hear_recording import hear_recording
from runtime.perception.live_speech import LiveSpeech
from runtime.perception.speech_models import FAMILY_FILES, SpeechModels, open_speech_models
from runtime.perception.speech_recogniser import SpeechRecogniser, SpeechSession
from runtime.text.records import Question

BAR = {"real_time_factor": 0.5}
COUNT, QUICK = 60, 8
LIVE, LIVE_QUICK = 6, 1
VOICES = {"en": ("en-us", "en-gb"), "zh": ("cmn",)}
NOISE_DB = 10.0
_BLOCK_S = 0.1


def main() -> int:
    """Run it; 0 when the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chinese", type=Path, help="a folder with model.int8.onnx and tokens.txt of SenseVoice")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} questions a language")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is not installed: apt-get install espeak-ng")
        return _end(options.json, {})
    count = QUICK if options.quick else COUNT
    with tempfile.TemporaryDirectory() as scratch:
        models = _models(Path(scratch) / "speech", options.chinese)
        figures: dict[str, float] = {}
        for lang in models.languages:
            figures |= _errors(models, lang, _questions(lang, count))
        figures |= _whole(models, _questions("en", 1)[0])
        figures |= asyncio.run(_live(models, _questions("en", LIVE_QUICK if options.quick else LIVE)))
    if "zh" not in models.languages:
        print("zh: no recogniser (--chinese FOLDER); not measured")
    return _end(options.json, figures)


def _models(folder: Path, chinese: Path | None) -> SpeechModels:
    fetch_speech_model("moonshine-tiny-en", say)
    choices = [RecogniserChoice(language="en", model="moonshine-tiny-en")]
    if chinese is not None:
        hashes = {name: sha256_file(chinese / name) for name in FAMILY_FILES["sense-voice"]}
        choices.append(
            RecogniserChoice(
                language="zh", family="sense-voice", folder=chinese, licence="as its author says", sha256=hashes
            )
        )
    write_speech_folder(Speech(recognisers=tuple(choices)), folder, say)
    return open_speech_models(folder)


def _questions(lang: str, count: int) -> list[str]:
    """Hand-written questions, spread over the shop's; those with digits and codes are said in too many ways."""
    rows = [row for path in sorted((SHOP / lang).glob("questions*.jsonl")) for row in read_rows(Question, path)]
    plain = list(dict.fromkeys(row.question for row in rows if not re.search(r"\d|[A-Z]{2,}|€", row.question)))
    return [plain[place * len(plain) // count] for place in range(min(count, len(plain)))]


def _spoken(text: str, voice: str) -> NDArray[np.float32]:
    done = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", "160", "--stdout"], input=text.encode(), capture_output=True, check=True
    )
    return decode_audio(done.stdout)


def _noisy(samples: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """With white noise `NOISE_DB` below the speech's power."""
    power = float(np.mean(samples**2)) / 10 ** (NOISE_DB / 10)
    noise = np.random.default_rng(seed).normal(0, power**0.5, len(samples))
    return (samples + noise).clip(-1, 1).astype(np.float32)


def _errors(models: SpeechModels, lang: str, questions: Sequence[str]) -> dict[str, float]:
    recogniser = SpeechRecogniser(models, lang, threads=1)
    figures: dict[str, float] = {}
    unit = "words" if lang == "en" else "characters"
    for name in ("clean", "noise"):
        wrong = total = silent = 0
        heard_s = spoken_s = 0.0
        for number, question in enumerate(questions):
            voices = VOICES[lang]
            samples = _spoken(question, voices[number % len(voices)])
            samples = samples if name == "clean" else _noisy(samples, number)
            began = time.process_time()
            session = SpeechSession(recogniser, models.voice_activity)
            session.accept(samples)
            text = " ".join(line.text for line in session.finish())
            heard_s += time.process_time() - began
            spoken_s += len(samples) / RATE
            said = _units(question, lang)
            wrong += levenshtein(said, _units(text, lang))
            total += len(said)
            silent += not text
        figures[f"{lang}_{name}_{unit}_wrong"] = wrong / total
        figures[f"{lang}_{name}_not_heard"] = silent / len(questions)
        figures[f"{lang}_{name}_real_time_factor"] = heard_s / spoken_s
        print(
            f"{lang} {name:<6} {len(questions)} questions, {spoken_s:.0f} s: {wrong}/{total} {unit} wrong "
            f"({wrong / total:.1%}), {silent} not heard, {heard_s / spoken_s:.3f} of real time"
        )
    figures["real_time_factor"] = max(value for key, value in figures.items() if key.endswith("real_time_factor"))
    return figures


def _whole(models: SpeechModels, question: str) -> dict[str, float]:
    """A recording as `ask --audio` hears it: a process is started and the recogniser loaded."""
    samples = _spoken(question, "en-us")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        hear_recording(attach(out.getvalue(), "question.wav"), models, "en")
        seconds.append(time.monotonic() - began)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    print(f"a recording of {len(samples) / RATE:.1f} s, loading included: {median(seconds):.1f} s, {peak_mb:.0f} MB")
    return {"recording_s": median(seconds), "peak_mb": peak_mb}


async def _live(models: SpeechModels, questions: Sequence[str]) -> dict[str, float]:
    """Seconds from a sound to the text that comes from it, and from the end of speech to the whole text."""
    partial: list[float] = []
    final: list[float] = []
    step = int(RATE * _BLOCK_S) * 2
    for question in questions:
        pcm = (_spoken(question, "en-us") * 32767).astype("<i2").tobytes()
        async with LiveSpeech(models, "en") as speech:
            # The first second of silence is heard once the recogniser is there: loading is no part of the delay.
            speech.hear(bytes(step * 10))
            await asyncio.sleep(6)
            began = time.monotonic() - 1.0

            async def feed(sound: bytes = pcm, speech: LiveSpeech = speech) -> float:
                for start in range(0, len(sound), step):
                    await asyncio.sleep(_BLOCK_S)
                    speech.hear(sound[start : start + step])
                speech.end()
                return time.monotonic()

            feeding = asyncio.create_task(feed())
            async for said in speech.texts():
                if said.final:
                    final.append(time.monotonic() - await feeding)
                else:
                    partial.append(time.monotonic() - began - said.seconds)
    print(
        f"live: text {median(partial):.2f} s behind the sound (p95 {quantile(partial, 0.95):.2f}, {len(partial)} texts)"
        f", the whole {median(final):.2f} s after the end"
    )
    return {
        "partial_delay_s": median(partial),
        "partial_delay_p95_s": quantile(partial, 0.95),
        "final_delay_s": median(final),
    }


def _units(text: str, lang: str) -> list[str]:
    """Words of English, characters of Chinese, without case and punctuation."""
    plain = re.sub(r"[^\w\s']|_", " " if lang == "en" else "", text.lower())
    return plain.replace("'", "").split() if lang == "en" else [char for char in plain if not char.isspace()]


def _end(as_json: bool, figures: dict[str, float]) -> int:
    holds = figures.get("real_time_factor", 1.0) <= BAR["real_time_factor"]
    if as_json:
        print(json.dumps({"name": "speech", "figures": figures, "bar": BAR, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
