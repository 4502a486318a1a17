"""`edgedesk ask --audio`: a recording becomes the question, and is shown before it is used."""

from __future__ import annotations

from pathlib import Path

from runtime.base.progress import counter
from runtime.cli.output import talk


def hear_question(path: Path, home: Path, lang: str | None) -> str:
    """What is said in a recording, by the recognisers of the home's bundle; it is also written to stderr."""
    from runtime.bundle.generations import current_bundle
    from runtime.perception.attachment import read_attachment
    from runtime.perception.hear_recording import hear_recording
    from runtime.perception.speech_models import bundle_speech

    models = bundle_speech(current_bundle(home))
    recording = read_attachment(path)
    with counter("listening") as step:
        step(0, 1)
        heard = hear_recording(recording, models, lang if lang in models.languages else None)
        step(1, 1)
    talk(f"heard: {heard.text}")
    if heard.cut:
        talk("More was said than fits into a question; the rest is left out.")
    return heard.text
