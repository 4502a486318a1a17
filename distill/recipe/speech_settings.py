"""Keys of a recipe's `[speech]`: what a branch hears spoken questions with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from distill.recipe.transcript_settings import Language
from runtime.bundle.bundle import Label
from runtime.perception.speech_models import FAMILY_FILES, RecogniserFamily

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecogniserChoice(_Table):
    """A recogniser: a name of the catalogue, or a family with a folder of its files, each pinned by its hash."""

    language: Language
    """The language it hears; each once. The first is taken where nobody has said what is spoken."""
    model: str | None = None
    """A name of the catalogue, such as `moonshine-tiny-en`."""
    family: RecogniserFamily | None = None
    """What reads the files of `folder`."""
    folder: Path | None = None
    name: Label = "unnamed"
    """What reports and the API call it."""
    licence: Label | None = None
    """Under which the weights of `folder` may be passed on to branches."""
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """Of every file of `folder` that the family reads."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model is None) == (self.folder is None):
            raise ValueError("give model, a name of the catalogue, or folder with family, licence and sha256")
        if self.folder is None:
            return self
        if self.family is None or self.licence is None:
            raise ValueError(f"folder needs family ({' or '.join(FAMILY_FILES)}) and licence")
        if missing := [file for file in FAMILY_FILES[self.family] if file not in self.sha256]:
            raise ValueError(f"sha256 lacks {missing[0]}: pin it with what sha256sum says of the file that you checked")
        return self


class Speech(_Table):
    """Recognisers that go into the bundle."""

    recognisers: tuple[RecogniserChoice, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_language_once(self) -> Self:
        languages = [one.language for one in self.recognisers]
        if twice := [lang for lang in languages if languages.count(lang) > 1]:
            raise ValueError(f"two recognisers for '{twice[0]}'; keep one")
        return self
