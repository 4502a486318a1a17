"""A piece of text that is painted only when it changes.

A draft of a hundred tokens a second changes one widget; over SSH every other one painted again would cost a packet.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class Line(Static):
    """Inert text; never parsed as markup. An empty one has the class `-empty` and takes no room."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes, markup=False)
        self._text: Content | None = None
        self.add_class("-empty")

    def put(self, text: str | Content) -> None:
        """Show this text, which the caller has made inert."""
        content = Content(text) if isinstance(text, str) else text
        if self._text is None or not content.is_same(self._text):
            self._text = content
            self.set_class(not content, "-empty")
            self.update(content)
