"""The key table, made from `tui.keys`."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from tui.keys import ACTS
from tui.widgets.line import Line
from tui.words import Words


class HelpScreen(ModalScreen[None]):
    """Every key and what it does; Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", show=False)]

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words = words

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll(id="help"):
            yield Line(id="help-text")

    def on_mount(self) -> None:
        """Show it."""
        self.query_one("#help").focus()
        self.relabel(self.words)

    def relabel(self, words: Words) -> None:
        """Paint in this language."""
        self.words = words
        box = self.query_one("#help")
        box.border_title = Content(words("help.title"))
        box.border_subtitle = Content(words("help.close"))
        self.query_one("#help-text", Line).put("\n".join(key_table(words)))


def key_table(words: Words) -> list[str]:
    """Lines of the table: the key in eight columns, then what it does."""
    lines = [f"{act.shown:<8}{words('help.' + act.id)}" for act in ACTS]
    return [*lines, "", words("help.typing")]
