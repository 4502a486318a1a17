"""The field for the customer's message or the agent's reply.

Enter sends, Ctrl+J begins a new line, `/` in an empty field brings the canned replies; the rest is typing.
Promises: what is pasted is made inert and keeps its lines; where another key sends, Enter begins a new line; the field
is never the bottom row of the screen, where an input method's box would cover it (`console.tcss`). Knows nothing of
what is done with the text.
"""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert
from tui.base.keys import bindings
from tui.state import Mode


class Composer(TextArea):
    """A text field of one to five lines."""

    BINDINGS = bindings("composer")

    class Sent(Message):
        """The agent pressed the send key."""

    class Canned(Message):
        """The agent typed a slash into the empty field."""

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, tab_behavior="focus", show_line_numbers=False, highlight_cursor_line=False)
        self.cursor_blink = False
        self.enter_sends = True
        self._labelled: tuple[str, Mode] | None = None

    def label(self, words: Catalogue, mode: Mode) -> None:
        """Name the field in this language."""
        if self._labelled != (words.lang, mode):
            self._labelled = (words.lang, mode)
            self.placeholder = Content(words(f"composer.hint_{mode.value}"))
            self.border_title = Content(words(f"composer.title_{mode.value}"))
            self.set_class(mode is Mode.REPLY, "reply-mode")

    def set_text(self, text: str) -> None:
        """Replace the text, made inert, the cursor behind it: a draft may be edited whose writer was fooled."""
        self.load_text(inert(text))
        self.move_cursor(self.document.end)

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_send(self) -> None:
        """Ask for the text to be sent."""
        self.post_message(self.Sent())

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter" and self.enter_sends:
            # The base class would write a line break; as an unhandled key it reaches the `send` binding.
            event.prevent_default()
            return
        if event.character == "/" and not self.text:
            event.prevent_default()
            event.stop()
            self.post_message(self.Canned())
            return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert(inert(event.text))
