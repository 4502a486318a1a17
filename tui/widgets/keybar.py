"""The bottom line: the keys that count now, each of them also a button for the mouse.

Promises: it never needs a second line. It is given the commands in order, the most wanted first; what does not fit is
left out, except for help and quitting, which keep their place at the end. Knows nothing of what the commands do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.style import Style

from tui.base.i18n import Catalogue
from tui.base.keys import Command, key_label
from tui.widgets.label import InertLabel

GAP = 2


class KeyBar(InertLabel):
    """Keys and their names."""

    def __init__(self) -> None:
        super().__init__()
        self._acts: tuple[Command, ...] = ()
        self._words: Catalogue | None = None
        self._width = 0

    def show(self, commands: Iterable[Command], words: Catalogue) -> None:
        """Show these commands."""
        before = self._acts, self._words, self._width
        self._acts, self._words, self._width = tuple(commands), words, self.app.size.width
        if before == (self._acts, self._words, self._width):
            return
        width = self.content_size.width or self.app.size.width - 2
        self.put(Content(" " * GAP).join(_button(command, words) for command in fit_commands(self._acts, words, width)))

    def on_resize(self, _: events.Resize) -> None:
        """Choose again how many commands fit."""
        if self._words is not None:
            self._width = 0
            self.show(self._acts, self._words)


def fit_commands(commands: Sequence[Command], words: Catalogue, width: int) -> list[Command]:
    """As many as fit into so many cells, in order; commands of the app itself come first in the deal."""
    kept: list[Command] = []
    left = width
    for command in sorted(commands, key=lambda command: command.id not in ("help", "quit")):
        room = cell_len(_name(command, words)) + (GAP if kept else 0)
        if room <= left and command.keys:
            kept.append(command)
            left -= room
    return [command for command in commands if command in kept]


def _name(command: Command, words: Catalogue) -> str:
    return f"{key_label(command)} {words('key.' + command.id)}"


def _button(command: Command, words: Catalogue) -> Content:
    space = {"app": "app.", "composer": ""}.get(command.where, "screen.")
    key = Content.styled(key_label(command), Style(bold=True))
    name = Content(f" {words('key.' + command.id)}")
    if command.where == "composer" or command.keys == "1":
        return Content.assemble(key, name)
    return Content.assemble(key, name).stylize(Style.from_meta({"@click": space + command.action}))
