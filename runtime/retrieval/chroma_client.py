"""Opens Chroma on a folder of this machine, whatever the environment and the working folder say.

Chroma's settings read a file `.env` of the working folder and environment names without a prefix (`MIGRATIONS`,
`CHROMA_API_IMPL`, `IS_PERSISTENT` …), first when it is imported and again for every client. An unrelated `.env` in
another encoding would stop the program, and one line in it would turn the local index into a network client.

Promises: a client writes to its folder and to nothing else, and every setting has the value written here or Chroma's
own default. Telemetry is off. Knows nothing of vectors.
"""

from __future__ import annotations

import os
import threading
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic_settings

_IMPORT_LOCK = threading.Lock()


class _ArgumentsOnly(pydantic_settings.BaseSettings):
    """Settings that come from the constructor's arguments and the defaults alone: no environment, no file."""

    def __init__(self, **values: Any) -> None:
        super().__init__(_env_file=None, **values)  # else the file is parsed, and may fail, before it is ignored

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[pydantic_settings.BaseSettings],  # noqa: ARG003 - pydantic passes it by name
        init_settings: pydantic_settings.PydanticBaseSettingsSource,
        *_others: pydantic_settings.PydanticBaseSettingsSource,
        **_named_others: pydantic_settings.PydanticBaseSettingsSource,
    ) -> tuple[pydantic_settings.PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def open_client(folder: Path) -> Any:
    """A `chromadb.ClientAPI` that keeps its data in `folder`; close it when done."""
    chromadb = _import_chromadb()
    settings: Any = chromadb.Settings(anonymized_telemetry=False)
    if not isinstance(settings, _ArgumentsOnly):
        raise RuntimeError(
            "chromadb was imported before runtime.retrieval.chroma_client: its settings are not shielded"
        )
    # SQLite spills large sorts into a temporary file; the article texts in it must not lie where others look.
    os.environ["SQLITE_TMPDIR"] = str(folder)
    return chromadb.PersistentClient(str(folder), settings=settings)


def chroma_version() -> str:
    """The installed version: an index made by another one is stale."""
    return version("chromadb")


def _import_chromadb() -> ModuleType:
    """`chromadb`, imported so that none of its settings is ever read from the environment or from `.env`.

    Chroma makes settings at import (as default arguments), before anybody can pass any. So `BaseSettings`, which its
    configuration inherits from, is exchanged for the moment of the import. Imported here and not above: it takes a
    second or two, and half of the commands never search.
    """
    with _IMPORT_LOCK:
        ordinary = pydantic_settings.BaseSettings
        pydantic_settings.BaseSettings = _ArgumentsOnly  # type: ignore[misc, assignment]
        try:
            import chromadb
        finally:
            pydantic_settings.BaseSettings = ordinary  # type: ignore[misc]
    module: ModuleType = chromadb
    return module
