"""The bottom line: the keys that count now, each of them also a button for the mouse.

Knows nothing of what the acts do; it is given their list.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content
from textual.style import Style

from tui.keys import Act
from tui.widgets.line import Line
from tui.words import Words


class KeyBar(Line):
    """Keys and their names, as many as fit, most wanted first."""

    def show(self, acts: Iterable[Act], words: Words) -> None:
        """Show these acts."""
        parts = [_button(act, words) for act in acts]
        self.put(Content("  ").join(parts))


def _button(act: Act, words: Words) -> Content:
    name = f"{act.shown} {words('key.' + act.id)}"
    space = {"app": "app.", "composer": ""}.get(act.where, "screen.")
    if act.where == "composer" or "(" in act.action:
        return Content.styled(name, Style(bold=True))
    return Content.styled(name, Style(bold=True) + Style.from_meta({"@click": space + act.action}))
