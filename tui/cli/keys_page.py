"""Prints docs/reference/keys.md from the key table: `python -m tui.cli.keys_page > docs/reference/keys.md`.

A test holds the file against it (`tests/tui/base/test_keys.py`).
"""

from __future__ import annotations

import sys

from tui.base.i18n import Catalogue
from tui.base.keys import ACTS, shown
from tui.screens.help import BY_NAME, WHERES

HEAD = """# Keys of the console

Made from `tui/base/keys.py` by `python -m tui.cli.keys_page`; F1 shows the same in the console. What has no key of its
own is found by name (Ctrl+P); give it one in your `console.toml`. The mouse opens conversations and sources, and the
key bar's names are buttons.

"""
FOOT = """
## Your own keys and settings

`console.toml` lies in your own settings folder (`~/.config/edgedesk/console.toml`); `EDGEDESK_CONSOLE` or `--settings`
name another.

    lang = "zh"              # en, zh; empty = the system's
    theme = "contrast"       # dark, light, contrast
    read_ahead = false       # messages are read by the model only when they are sent

    [keys]                   # act = its keys, with commas between
    send = "ctrl+s"          # then Enter begins a new line
    accept = "f9"
    labels = "f5"
    practice = "ctrl+o"

An act nobody knows and two acts on one key are refused with the file's name. Some keys never reach a program: F10 and
F11 belong to many terminal windows, Ctrl+B to tmux, Alt with a digit to some keyboards; Shift+Enter is told from Enter
only by newer terminals (Ctrl+J always is).
"""


def keys_page() -> str:
    """The page."""
    english, chinese = Catalogue("en"), Catalogue("zh")
    parts = [HEAD]
    for where in WHERES:
        acts = [act for act in ACTS if act.where in where]
        rows = [
            f"| {shown(act) or BY_NAME} | `{act.id}` | {english('help.' + act.id)} | {chinese('help.' + act.id)} |"
            for act in acts
        ]
        parts.append(
            f"## {english('where.' + where[0])}\n\n| key | act | | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        )
    return "".join(parts).rstrip() + "\n" + FOOT


if __name__ == "__main__":
    sys.stdout.write(keys_page())
