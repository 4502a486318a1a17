"""A piece of text that is painted only when it changes.

A draft of a hundred tokens a second changes one widget; over SSH every other one painted again would cost a packet. A
change that needs no more lines leaves the layout alone: laying out the screen paints all of it.
"""

from __future__ import annotations

from typing import cast

from textual.content import Content
from textual.css.styles import RulesMap
from textual.widgets import Static


class InertLabel(Static):
    """Inert text; never parsed as markup. An empty one has the class `-empty` and takes no room."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes, markup=False)
        self._text: Content | None = None
        self.add_class("-empty")

    def put(self, text: str | Content) -> None:
        """Show this text, which the caller has made inert."""
        content = Content(text) if isinstance(text, str) else text
        if self._text is None or not content.is_same(self._text):
            fits = bool(self._text) and bool(content) and self._fits(content)
            self._text = content
            self.set_class(not content, "-empty")
            self.update(content, layout=not fits)

    def _fits(self, content: Content) -> bool:
        """Whether it takes exactly the lines that are there."""
        width, height = self.content_size
        return bool(width) and content.get_height(cast("RulesMap", self.styles), width) == height
