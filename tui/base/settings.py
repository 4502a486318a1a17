"""An agent's own settings of the console: `console.toml`, found by flag, environment, or in the user's own folder.

    lang = "zh"             theme = "light"          read_ahead = false
    [keys]                  a command's id and its keys, as docs/reference/keys.md lists them
    send = "ctrl+s"         then Enter begins a new line
    accept = "f9"

Promises: an unknown setting, an unknown command, and two commands on one key are errors that name the file. Knows
nothing of widgets.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import expand_user
from runtime.base.toml_file import read_toml
from runtime.base.validation import first_problem
from runtime.errors import UsageError
from tui.base.keys import COMMANDS, clashes, with_own_keys

VARIABLE = "EDGEDESK_CONSOLE"


class ConsoleSettings(BaseModel):
    """What an agent may choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lang: Literal["", "en", "zh"] = ""
    """Of the interface; empty = the system's."""
    theme: Literal["dark", "light", "contrast"] = "dark"
    read_ahead: bool = True
    """Whether the server may read a message while it is typed, so that the draft begins at once."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Act id -> keys, separated by commas."""


def read_settings(path: Path | None = None) -> ConsoleSettings:
    """The settings of a file; without one, EDGEDESK_CONSOLE, then the user's own, then the defaults."""
    named = path or (expand_user(Path(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else None)
    file = named or default_path()
    if named is None and not file.is_file():
        return ConsoleSettings()
    try:
        found = read_toml(file, refuse=UsageError, hint='write lines such as: theme = "light"')
        settings = ConsoleSettings.model_validate(found)
    except ValidationError as error:
        problem = first_problem(error, "setting", ConsoleSettings)
        known = f"known: {', '.join(ConsoleSettings.model_fields)}"
        raise UsageError(problem.sentence, where=str(file), hint=problem.hint or known) from None
    _check(settings, str(file))
    return settings


def default_path() -> Path:
    """`console.toml` in the user's settings folder."""
    import platformdirs

    return Path(platformdirs.user_config_dir("edgedesk", appauthor=False)) / "console.toml"


def _check(settings: ConsoleSettings, where: str) -> None:
    ids = {command.id: command for command in COMMANDS}
    for name, keys in settings.keys.items():
        if name not in ids:
            raise UsageError(f"unknown command '{name}'", where=where, hint=f"known commands: {', '.join(ids)}")
        if ids[name].keys == "1" or not keys.strip(" ,"):
            raise UsageError(f"the keys of '{name}' cannot be '{keys}'", where=where, hint='such as: accept = "f9"')
    if found := clashes(with_own_keys(settings.keys)):
        key, first, second = found[0]
        raise UsageError(
            f"the key '{key}' belongs to both '{first}' and '{second}'",
            where=where,
            hint="give one of them another key",
        )
