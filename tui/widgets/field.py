"""Text fields of the boxes: what is pasted into them is made inert."""

from __future__ import annotations

from textual import events
from textual.widgets import Input, TextArea

from tui.base.inert_text import inert, one_line


class Field(Input):
    """One line."""

    def __init__(self, value: str = "", *, id: str | None = None, restrict: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(one_line(value), id=id, restrict=restrict, select_on_focus=False)
        self.cursor_blink = False

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert_text_at_cursor(one_line(event.text))


class Area(TextArea):
    """Several lines."""

    def __init__(self, text: str = "", *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(inert(text), soft_wrap=True, show_line_numbers=False, highlight_cursor_line=False, id=id)
        self.cursor_blink = False

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert(inert(event.text))
