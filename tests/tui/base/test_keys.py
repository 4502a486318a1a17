"""One key table: bindings, footer, help, palette and docs are made from it, and agents may move keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import MissingError, UsageError
from tests.support.console import RETURNS
from tests.support.paths import ROOT
from tui.base.i18n import Catalogue
from tui.base.keys import COMMANDS, clashes, key_label, key_name, with_own_keys
from tui.base.settings import ConsoleSettings, read_settings
from tui.cli.keys_page import keys_page
from tui.testing.fake_server import FakeServer, answer
from tui.widgets.keybar import fit_commands


def test_the_docs_key_table_is_the_one_in_use() -> None:
    page = ROOT / "docs" / "reference" / "keys.md"
    assert page.read_text(encoding="utf-8") == keys_page(), "python -m tui.cli.keys_page > docs/reference/keys.md"


def test_no_two_acts_have_one_key_where_both_count() -> None:
    assert clashes(COMMANDS) == []
    assert clashes(with_own_keys({"accept": "f1"})) == [("f1", "accept", "help")]
    assert len({command.id for command in COMMANDS}) == len(COMMANDS)


@pytest.mark.parametrize(
    ("key", "name"), [("ctrl+n", "Ctrl+N"), ("f5", "F5"), ("escape", "Esc"), ("slash", "/"), ("ctrl+s", "Ctrl+S")]
)
def test_a_key_is_named_as_people_read_it(key: str, name: str) -> None:
    assert key_name(key) == name


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [20, 60, 78, 138])
def test_help_and_quit_keep_their_place_however_narrow(lang: str, width: int) -> None:
    from rich.cells import cell_len

    words = Catalogue(lang)
    commands = [command for command in COMMANDS if command.where in ("chat", "app") and command.keys]
    kept = fit_commands(commands, words, width)
    assert {"help", "quit"} <= {command.id for command in kept}
    assert sum(cell_len(f"{key_label(command)} {words('key.' + command.id)}") + 2 for command in kept) - 2 <= width


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('theme = "pink"', "theme"),
        ('colour = "pink"', "colour"),
        ('[keys]\nfly = "f9"', "unknown command 'fly'"),
        ('[keys]\naccept = "f1"', "the key 'f1' belongs to both 'accept' and 'help'"),
        ('[keys]\nsend = ""', "the keys of 'send'"),
        ('[keys]\ncite = "x"', "the keys of 'cite'"),
        ("theme =", "not TOML"),
    ],
)
def test_a_slip_in_the_settings_is_named_with_its_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "console.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=complaint) as raised:
        read_settings(path)
    assert str(path) in raised.value.where


def test_settings_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "console.toml"
    path.write_bytes(b'\xef\xbb\xbftheme = "light"\r\nlang = "zh"\r\n')
    assert (read_settings(path).theme, read_settings(path).lang) == ("light", "zh")


def test_settings_come_from_flag_then_environment_then_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text('theme = "light"', encoding="utf-8")
    two.write_text('lang = "zh"\nread_ahead = false', encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("EDGEDESK_CONSOLE", raising=False)
    assert read_settings() == ConsoleSettings()
    monkeypatch.setenv("EDGEDESK_CONSOLE", str(two))
    assert read_settings().lang == "zh"
    assert read_settings(one).theme == "light"
    with pytest.raises(MissingError):
        read_settings(tmp_path / "three.toml")


async def test_a_moved_key_works_and_is_shown_under_its_new_name(open_console: Any) -> None:
    server = FakeServer([answer(["30 days."], [RETURNS])])
    async with open_console(server, keys={"accept": "ctrl+b", "practice": "f5"}) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.sees("Ctrl+B Accept")
        await console.press("ctrl+b")
        await console.sees("sent as drafted")
        await console.press("f1")
        await console.sees("Ctrl+B  Accept the draft")
