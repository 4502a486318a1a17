"""Prints docs/reference/keys.md from the key table: `python -m tui.cli.keys_page > docs/reference/keys.md`.

A test holds the file against it (`tests/tui/base/test_keys.py`).
"""

from __future__ import annotations

import sys

from tui.base.i18n import Catalogue
from tui.base.keys import COMMANDS, key_label
from tui.screens.help import BY_NAME, WHERES

HEAD = """# Keys of the console

This page is printed from `tui/base/keys.py` by `python -m tui.cli.keys_page`. F1 shows the same table in the console.
A command without a key of its own is found by name (Ctrl+P), or gets a key in your `console.toml`. The mouse opens
conversations and sources, and the names in the key bar are buttons.

"""
FOOT = """
## Your own keys and settings

Your settings are in `~/.config/edgedesk/console.toml`. `EDGEDESK_CONSOLE` or `--settings` name another file.

    lang = "zh"              # en, zh; empty = the system's
    theme = "contrast"       # dark, light, contrast
    read_ahead = false       # the model reads a message only when it is sent

    [keys]                   # command = its keys, separated by commas
    send = "ctrl+s"          # Enter then begins a new line
    accept = "f9"
    labels = "f5"
    practice = "ctrl+b"

An unknown command, or one key for two commands, is refused with the name of the file. Some keys never reach a program:

| key | why |
|---|---|
| F10, F11 | many terminal windows use them themselves |
| Ctrl+B | tmux uses it |
| Alt with a digit | some keyboards type a letter with it |
| Shift+Enter | only newer terminals tell it from Enter; Ctrl+J works in all of them |
"""


def keys_page() -> str:
    """The page."""
    english, chinese = Catalogue("en"), Catalogue("zh")
    parts = [HEAD]
    for where in WHERES:
        commands = [command for command in COMMANDS if command.where in where]
        rows = [
            f"| {key_label(one) or BY_NAME} | `{one.id}` | {english('help.' + one.id)} | {chinese('help.' + one.id)} |"
            for one in commands
        ]
        parts.append(
            f"## {english('where.' + where[0])}\n\n| key | command | English | Chinese |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n\n"
        )
    return "".join(parts).rstrip() + "\n" + FOOT


if __name__ == "__main__":
    sys.stdout.write(keys_page())
