"""The bottom line: the keys that count now, each of them also a button for the mouse.

Knows nothing of what the acts do; it is given their list, the most wanted first. What does not fit is left out, but for
help and quitting, which keep their place at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.style import Style

from tui.base.i18n import Catalogue
from tui.base.keys import Command, shown
from tui.widgets.label import Label

GAP = 2


class KeyBar(Label):
    """Keys and their names."""

    def __init__(self) -> None:
        super().__init__()
        self._acts: tuple[Command, ...] = ()
        self._words: Catalogue | None = None
        self._width = 0

    def show(self, acts: Iterable[Command], words: Catalogue) -> None:
        """Show these acts."""
        before = self._acts, self._words, self._width
        self._acts, self._words, self._width = tuple(acts), words, self.app.size.width
        if before == (self._acts, self._words, self._width):
            return
        width = self.content_size.width or self.app.size.width - 2
        self.put(Content(" " * GAP).join(_button(act, words) for act in fitting(self._acts, words, width)))

    def on_resize(self, _: events.Resize) -> None:
        """Fit again."""
        if self._words is not None:
            self._width = 0
            self.show(self._acts, self._words)


def fitting(acts: Sequence[Command], words: Catalogue, width: int) -> list[Command]:
    """As many as fit into so many cells, in order; acts of the app itself come first in the deal."""
    kept: list[Command] = []
    left = width
    for act in sorted(acts, key=lambda act: act.id not in ("help", "quit")):
        room = cell_len(_name(act, words)) + (GAP if kept else 0)
        if room <= left and act.keys:
            kept.append(act)
            left -= room
    return [act for act in acts if act in kept]


def _name(act: Command, words: Catalogue) -> str:
    return f"{shown(act)} {words('key.' + act.id)}"


def _button(act: Command, words: Catalogue) -> Content:
    space = {"app": "app.", "composer": ""}.get(act.where, "screen.")
    key = Content.styled(shown(act), Style(bold=True))
    name = Content(f" {words('key.' + act.id)}")
    if act.where == "composer" or act.keys == "1":
        return Content.assemble(key, name)
    return Content.assemble(key, name).stylize(Style.from_meta({"@click": space + act.action}))
