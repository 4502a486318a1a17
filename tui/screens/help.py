"""The key table, made from `tui.keys`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from tui.keys import Act, shown
from tui.widgets.line import Line
from tui.words import Words

BY_NAME: Final = "Ctrl+P"
"""The key of what has none of its own."""
WHERES: Final = (("composer", "chat"), ("app",), ("article",), ("page",), ("finder",), ("form",))


class HelpScreen(ModalScreen[None]):
    """Every key and what it does; Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", show=False)]

    def __init__(self, words: Words, acts: Sequence[Act]) -> None:
        super().__init__()
        self.words = words
        self.acts = acts

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
        box.border_subtitle = Content(words("help.esc"))
        lines = [Content.styled(line, "" if line.startswith(" ") else "bold") for line in key_table(self.acts, words)]
        self.query_one("#help-text", Line).put(Content("\n").join(lines))


def key_table(acts: Sequence[Act], words: Words) -> list[str]:
    """Lines of the table: the key in eight columns, then what it does; acts of one place together."""
    lines: list[str] = []
    for where in WHERES:
        rows = [f"  {shown(act) or BY_NAME:<8}{words('help.' + act.id)}" for act in acts if act.where in where]
        lines += [*([""] if lines else []), words(f"where.{where[0]}"), *rows]
    return [*lines, "", f" {words('help.typing')}"]
