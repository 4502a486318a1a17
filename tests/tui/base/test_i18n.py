"""Both interface languages are complete and say the same things."""

from __future__ import annotations

import string

import pytest

from runtime.errors import UsageError
from tui.base.i18n import LANGUAGES, Catalogue, load_catalogue, system_language
from tui.base.keys import COMMANDS
from tui.state import Link, Phase


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_catalogues_have_the_same_strings_with_the_same_values() -> None:
    english, chinese = (load_catalogue(lang) for lang in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key in english:
        assert fields(english[key]) == fields(chinese[key]), key
        assert english[key].strip()
        assert chinese[key].strip()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_key_and_every_state_has_a_name(lang: str) -> None:
    words = Catalogue(lang)
    for command in COMMANDS:
        assert words(f"key.{command.id}")
        assert words(f"help.{command.id}")
    for link in Link:
        assert words(f"link.{link.value}", why="", retry=1)
    for phase in Phase:
        assert words(f"phase.{phase.value}", count=1, why="")


def test_values_are_not_read_as_format_strings() -> None:
    assert "{0} {why}" in Catalogue("en")("turn.handoff", why="{0} {why}")


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UsageError, match="no interface in 'fr'"):
        Catalogue("fr")


def test_the_system_language_is_one_the_console_speaks() -> None:
    assert system_language() in LANGUAGES
