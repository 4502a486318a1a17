"""What the last passed trial has shown, so that an update of articles alone need not show it again.

    EDGEDESK_HOME/passed-trial.json    owner-only; digests, no question and no text

An answer depends on the model and all else of a bundle but its articles, on llama.cpp's build and the processor, on the
settings, and on the question's basis (`Desk.basis`): the sections that are found for it and the prompt made of them.
Where all of that is as it was when a golden question was answered right, its answer is known. Promises: what is kept
under anything else is not believed; a file that is missing or damaged holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime import __version__
from runtime.base.files import read_text, write_atomic
from runtime.base.hardware import processor_name
from runtime.base.manifest import digest, read_manifest
from runtime.base.settings import Settings
from runtime.engine.llama.bindings import build_of_llama
from runtime.errors import EdgedeskError

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle

FILE_NAME = "passed-trial.json"
ARTICLES = "articles/"
"""Files of a bundle that a question's basis covers."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """`model_digest` of the trial."""
    answered: dict[str, str]
    """By digest of a golden question: the basis on which it was answered right."""


def model_digest(bundle: Bundle, settings: Settings) -> str:
    """Everything but the articles that answers of this bundle depend on here."""
    files = [[one.path, one.sha256] for one in read_manifest(bundle.root).files if not one.path.startswith(ARTICLES)]
    engine = build_of_llama() if settings.runtime == "llama" else f"onnxruntime {version('onnxruntime')}"
    return digest([__version__, files, engine, processor_name(), settings.model_dump(mode="json")])


def read_answered(home: Path, model: str) -> dict[str, str]:
    """Basis by question's digest, of what the last passed trial of just this model answered right."""
    try:
        kept = _Kept.model_validate_json(read_text(home / FILE_NAME))
    except (EdgedeskError, ValidationError):
        return {}
    return kept.answered if kept.model == model else {}


def keep_answered(home: Path, model: str, answered: Mapping[str, str]) -> None:
    """Replace what was kept; to be called only after a trial that the generation passed."""
    text = _Kept(model=model, answered=dict(answered)).model_dump_json(indent=1)
    write_atomic(home / FILE_NAME, text + "\n", mode=0o600)
