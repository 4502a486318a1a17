"""The key table, made from `tui.base.keys`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from tui.base.i18n import Catalogue
from tui.base.keys import Command, key_label
from tui.widgets.label import InertLabel

BY_NAME: Final = "Ctrl+P"
"""The key of what has none of its own."""
WHERES: Final = (("composer", "chat"), ("app",), ("article",), ("page",), ("finder",), ("form",))


class HelpScreen(ModalScreen[None]):
    """Every key and what it does; Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", show=False)]

    def __init__(self, words: Catalogue, commands: Sequence[Command]) -> None:
        super().__init__()
        self.words = words
        self.commands = commands

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll(id="help"):
            yield InertLabel(id="help-text")

    def on_mount(self) -> None:
        """Show the table."""
        self.query_one("#help").focus()
        self.relabel(self.words)

    def relabel(self, words: Catalogue) -> None:
        """Paint in this language."""
        self.words = words
        box = self.query_one("#help")
        box.border_title = Content(words("help.title"))
        box.border_subtitle = Content(words("help.esc"))
        lines = [
            Content.styled(line, "" if line.startswith(" ") else "bold") for line in key_table(self.commands, words)
        ]
        self.query_one("#help-text", InertLabel).put(Content("\n").join(lines))


def key_table(commands: Sequence[Command], words: Catalogue) -> list[str]:
    """Lines of the table: the key in eight columns, then what it does; commands of one place together."""
    lines: list[str] = []
    for where in WHERES:
        rows = [
            f"  {key_label(command) or BY_NAME:<8}{words('help.' + command.id)}"
            for command in commands
            if command.where in where
        ]
        lines += [*([""] if lines else []), words(f"where.{where[0]}"), *rows]
    return [*lines, "", f" {words('help.typing')}"]
