"""A recipe's `[speech]` → the folder `speech/` of its bundle.

Promises: every file is compared with its hash, the catalogue's or the recipe's, before it is copied; the folder appears
whole or not at all. What is refused here is refused before any stage runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from distill.models.catalogue import Say
from distill.models.speech_catalogue import NOTICE, SPEECH_CATALOGUE, VOICE_ACTIVITY, fetch_speech_model
from distill.recipe.speech_settings import RecogniserChoice, Speech
from runtime.base.files import new_folder, sha256_file, write_atomic
from runtime.errors import IntegrityError, MissingError, UsageError
from runtime.perception.speech_models import DESCRIPTION, FAMILY_FILES, SpeechInfo, SpeechRecogniserInfo


def check_speech(speech: Speech) -> None:
    """`EdgedeskError` whose `where` is the key of `[speech]` that is wrong; nothing is fetched."""
    for place, choice in enumerate(speech.recognisers):
        where = f"speech.recognisers[{place}]"
        if choice.model is not None:
            model = SPEECH_CATALOGUE.get(choice.model)
            if model is None or model.family is None:
                known = ", ".join(name for name, one in SPEECH_CATALOGUE.items() if one.family)
                raise UsageError(
                    f"no recogniser '{choice.model}'", where=f"{where}.model", hint=f"{known}; or give a folder"
                )
            continue
        assert choice.folder is not None
        for name, wanted in choice.sha256.items():
            path = choice.folder / name
            if not path.is_file():
                raise MissingError(
                    f"{name} is not there", where=f"{where}.folder", hint="docs/how-to/voice.md says where it is from"
                )
            if sha256_file(path) != wanted:
                raise IntegrityError(
                    f"{name} is not the file that the recipe pins",
                    where=f"{where}.sha256",
                    hint="fetch it again; change the hash only for a file that you checked",
                )


def write_speech_folder(speech: Speech, out: Path, say: Say) -> None:
    """Fetch what is not there yet and write `speech/`; raises what `check_speech` raises."""
    check_speech(speech)
    activity = fetch_speech_model(VOICE_ACTIVITY, say)
    found = [_files(choice, say) for choice in speech.recognisers]
    with new_folder(out) as folder:
        (detector,) = SPEECH_CATALOGUE[VOICE_ACTIVITY].sha256
        _copy(activity, folder, (detector,))
        for info, source in found:
            target = folder / info.folder
            target.mkdir()
            _copy(source, target, FAMILY_FILES[info.family])
        described = SpeechInfo(voice_activity=detector, recognisers=tuple(info for info, _ in found))
        write_atomic(folder / DESCRIPTION, described.model_dump_json(indent=1) + "\n")


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    """The files, and the licence's text where there is one."""
    for name in (*names, NOTICE):
        if name != NOTICE or (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _files(choice: RecogniserChoice, say: Say) -> tuple[SpeechRecogniserInfo, Path]:
    if choice.model is not None:
        model = SPEECH_CATALOGUE[choice.model]
        source, family, name, licence = fetch_speech_model(choice.model, say), model.family, choice.model, model.licence
    else:
        assert choice.folder is not None
        assert choice.licence is not None
        source, family, name, licence = choice.folder, choice.family, choice.name, choice.licence
    assert family is not None
    info = SpeechRecogniserInfo(
        language=choice.language, family=family, name=name, licence=licence, folder=choice.language
    )
    return info, source
