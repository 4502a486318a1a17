"""What `edgedesk doctor` says of eyes and ears: what is installed, what the bundle carries, and what the machine has.

Promises: a branch that reads no pictures and hears no speech is a sound branch, and is told what to install for it;
what is installed and cannot work is a problem. Opens no microphone and loads no model.
"""

from __future__ import annotations

from pathlib import Path

from runtime.errors import MissingError
from runtime.perception.bounded_child import need_extra
from runtime.perception.hear_recording import SPEECH_MODULES
from runtime.perception.picture_child import missing_models
from runtime.perception.picture_reader import PICTURE_MODULES

Told = tuple[str, str]
"""What is said, and what to do where something is not there."""


def look_at_pictures(_: Path) -> Told:
    """Whether pictures are read here; `MissingError` where the recogniser is installed without its models."""
    try:
        need_extra(*PICTURE_MODULES, what="reading pictures")
    except MissingError as error:
        return f"not read here: {error.what}", error.hint
    if missing := missing_models():
        raise MissingError(
            f"the recogniser's model {missing[0].name} is not there",
            where=str(missing[0].parent),
            hint="run install.sh again",
        )
    try:
        need_extra("pi_heif", what="HEIC")
    except MissingError:
        return "PNG, JPEG, WebP and PDF are read", "for HEIC, as some phones take it: pip install pi-heif"
    return "PNG, JPEG, WebP, HEIC and PDF are read", ""


def look_at_speech(home: Path) -> Told:
    """Which languages are heard here; `MissingError` where a recogniser of the bundle lacks a file."""
    from runtime.bundle.generations import current_bundle
    from runtime.perception.speech_models import bundle_speech

    try:
        models = bundle_speech(current_bundle(home))
    except MissingError as error:
        return f"not heard here: {error.what}", error.hint
    names = []
    for one in models.info.recognisers:
        models.files(one)
        names.append(f"{one.language} ({one.name})")
    try:
        need_extra(*SPEECH_MODULES, what="hearing a recording")
    except MissingError as error:
        return f"not heard here: {error.what}; the bundle carries {', '.join(names)}", error.hint
    return f"heard in {', '.join(names)}", ""


def look_at_microphone(_: Path) -> Told:
    """Which microphone the console would take."""
    from runtime.perception.microphone import find_microphone

    try:
        return find_microphone(), ""
    except MissingError as error:
        return f"none: {error.what}", error.hint
