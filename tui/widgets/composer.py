"""The question field. Enter sends, Ctrl+J begins a new line, the rest is typing.

Promises: what is pasted is made inert and keeps its lines; the field is never the bottom row of the screen, where an
input method's box would cover it (`console.tcss`). Knows nothing of what is done with the text.
"""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from tui.keys import bindings
from tui.text import inert
from tui.words import Words


class Composer(TextArea):
    """A text field of one to five lines."""

    BINDINGS = bindings("composer")

    class Sent(Message):
        """The agent pressed the send key."""

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, tab_behavior="focus", show_line_numbers=False, highlight_cursor_line=False)
        self.cursor_blink = False
        self._lang = ""

    def label(self, words: Words) -> None:
        """Name the field in this language."""
        if self._lang != words.lang:
            self._lang = words.lang
            self.placeholder = Content(words("composer.hint"))
            self.border_title = Content(words("composer.title"))

    def set_text(self, text: str) -> None:
        """Replace the text, the cursor behind it."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_send(self) -> None:
        """Ask for the text to be sent."""
        self.post_message(self.Sent())

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            # The base class would write a line break; as an unhandled key it reaches the `send` binding.
            event.prevent_default()
            return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert(inert(event.text))
