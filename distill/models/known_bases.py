"""The bases and teachers that `edgedesk models list` tells of: what their cards and config.json say.

`known_bases.toml` holds them. Promises: every entry names its licence and a configuration in config.json's own terms,
so that sizes come from the code that reads a checkpoint. Knows nothing of sizes, speeds and downloads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from runtime.base.toml_file import read_toml

_FILE = Path(__file__).with_name("known_bases.toml")
_STRETCHED = ("yarn", "longrope")
"""Position scalings that llama.cpp would apply anew to the whole memory with every shift of an article."""


class KnownBase(BaseModel):
    """A model on the hub that a recipe can name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hub: str
    """`owner/model`."""
    use: Literal["student", "teacher"]
    licence: str
    languages: str
    vocabulary: str
    """Models of one name share their token ids: one can teach another."""
    config: dict[str, Any]
    """As in its config.json; defaults of its class may be missing."""

    @property
    def name(self) -> str:
        """Without its owner."""
        return self.hub.rpartition("/")[2]

    @property
    def composes(self) -> bool:
        """Whether compiled articles can be put together: every token sees every other, at positions that can move.

        The conditions of the engine (`cannot_compose` in `runtime.engine.llama.model`), read off the configuration.
        """
        scaling = self.config.get("rope_scaling") or {}
        window = self.config.get("use_sliding_window", False)
        return not window and scaling.get("rope_type", scaling.get("type", "")) not in _STRETCHED


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    base: tuple[KnownBase, ...]


def known_bases() -> tuple[KnownBase, ...]:
    """All of them, students first, small ones first."""
    return _File.model_validate(read_toml(_FILE, hint="install edgedesk again")).base
