"""The catalogue of interface strings, English and Chinese.

Promises: a string missing from a catalogue is an error at once, never an empty label. Knows nothing of widgets; values
put into a string are not read as format strings again.
"""

from __future__ import annotations

import json
import locale
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from runtime.errors import UsageError

LANGUAGES: Final = ("en", "zh")


class Catalogue:
    """Interface strings of one language: `words("phase.queued", count=2)`."""

    def __init__(self, lang: str) -> None:
        if lang not in LANGUAGES:
            raise UsageError(f"no interface in '{lang}'", where="--lang", hint=f"use one of {', '.join(LANGUAGES)}")
        self.lang = lang
        self._strings = load_catalogue(lang)

    def __call__(self, key: str, **values: object) -> str:
        """The string with its values in place; `KeyError` when the catalogue lacks it."""
        return self._strings[key].format_map(values)

    def get(self, key: str) -> str:
        """The string without values, or an empty one where the catalogue has none (names that come from a server)."""
        return self._strings.get(key, "")

    def other(self) -> Catalogue:
        """The next language's strings."""
        return Catalogue(LANGUAGES[(LANGUAGES.index(self.lang) + 1) % len(LANGUAGES)])


@cache
def load_catalogue(lang: str) -> Mapping[str, str]:
    """All strings of a language, by key."""
    strings: dict[str, str] = json.loads(files("tui.base").joinpath("locale", f"{lang}.json").read_text("utf-8"))
    return strings


def system_language() -> str:
    """The language of the user's locale if the console speaks it, else English; TERM=linux has no Chinese font."""
    if os.environ.get("TERM") == "linux":
        return "en"
    name = locale.getlocale(locale.LC_MESSAGES)[0] or ""
    return name[:2].lower() if name[:2].lower() in LANGUAGES else "en"
