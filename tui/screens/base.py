"""What the screens over the conversation share: they stand in a box, and are painted again in another language."""

from __future__ import annotations

from typing import Any, TypeVar

from textual.content import Content
from textual.screen import ModalScreen

from tui.base.i18n import Catalogue
from tui.base.keys import Command, with_own_keys
from tui.widgets.field import TooLong
from tui.widgets.keybar import KeyBar

Result = TypeVar("Result")


class BoxScreen(ModalScreen[Result]):
    """A box with a title, and its keys in the last line."""

    WHERE = "page"

    def __init__(self, words: Catalogue, title: str) -> None:
        """`title` is a name in the catalogue."""
        super().__init__()
        self.words = words
        self.title_key = title

    def relabel(self, words: Catalogue) -> None:
        """Paint in this language."""
        self.words = words
        self.query_one("#box").border_title = Content(words(self.title_key))
        self.query_one(KeyBar).show(self.commands(), words)

    def on_too_long(self, message: TooLong) -> None:
        """Say in the box's frame that a text was refused: the status line is covered by the box."""
        message.stop()
        self.refuse_length(message.limit)

    def refuse_length(self, limit: int) -> None:
        """Say how long a text may be."""
        self.query_one("#box").border_subtitle = Content(self.words("notice.too_long", number=limit))

    def commands(self) -> list[Command]:
        """The keys that count here."""
        return [command for command in with_own_keys(self._own_keys()) if command.where == self.WHERE]

    def _own_keys(self) -> dict[str, str]:
        app: Any = self.app
        keys: dict[str, str] = getattr(getattr(app, "settings", None), "keys", {})
        return keys
