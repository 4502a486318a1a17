"""A piece of text that is painted only when it changes.

A draft of a hundred tokens a second changes one widget; over SSH every other one painted again would cost a packet.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class Line(Static):
    """Inert text; never parsed as markup."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes, markup=False)
        self._text: Content | None = None

    def put(self, text: str | Content) -> None:
        """Show this text, which the caller has made inert; an empty one takes no room."""
        content = Content(text) if isinstance(text, str) else text
        if self._text is None or not content.is_same(self._text):
            self._text = content
            self.display = bool(content)
            self.update(content)
