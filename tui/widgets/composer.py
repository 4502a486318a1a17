"""The field for the customer's message or the agent's reply.

Enter sends, Ctrl+J begins a new line, `/` in an empty field brings the canned replies; the rest is typing.
Promises: what is pasted is cleaned and keeps its lines, and nothing in it sends, whether it comes as one event or as a
burst of keys; a paste beyond the limit is refused in words; where another key sends, Enter begins a new line; the field
is never the bottom row of the screen, where an input method's box would cover it (`console.tcss`). Knows nothing of
what is done with the text.
"""

from __future__ import annotations

from pathlib import Path

from textual import events
from textual.content import Content
from textual.message import Message

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert
from tui.base.keys import bindings
from tui.base.picture_files import as_picture_path
from tui.state import Mode
from tui.widgets.field import Area, HeldKey


class Composer(Area):
    """A text field of one to five lines."""

    BINDINGS = bindings("composer")

    class Sent(Message):
        """The agent pressed the send key."""

    class Canned(Message):
        """The agent typed a slash into the empty field."""

    class PicturePasted(Message):
        """The path of a picture was pasted, alone, as terminals do with a file that is dropped into them."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    def __init__(self) -> None:
        super().__init__(tab_behavior="focus")
        self.enter_sends = True
        self._labelled: tuple[str, Mode] | None = None
        self._held = HeldKey(self, self.insert)

    def label(self, words: Catalogue, mode: Mode) -> None:
        """Name the field in this language."""
        if self._labelled != (words.lang, mode):
            self._labelled = (words.lang, mode)
            self.placeholder = Content(words(f"composer.hint_{mode.value}"))
            self.border_title = Content(words(f"composer.title_{mode.value}"))
            self.set_class(mode is Mode.REPLY, "reply-mode")

    def set_text(self, text: str) -> None:
        """Replace the text, made inert, the cursor at its end: a draft may be edited whose writer was fooled."""
        self._held.drop()
        self.load_text(inert(text))
        self.move_cursor(self.document.end)

    def type_character(self, char: str) -> None:
        """A character that was typed elsewhere and belongs here."""
        self._held.keep()
        self.type_text(char)

    def take_pasted(self, text: str) -> None:
        """Put pasted text at the cursor; the path of a picture attaches the picture."""
        if (path := as_picture_path(text)) is not None:
            self.post_message(self.PicturePasted(path))
        else:
            super().take_pasted(text)

    def action_newline(self) -> None:
        """Begin a new line."""
        self._held.keep()
        self.insert("\n")

    def action_send(self) -> None:
        """Ask for the text to be sent."""
        self._held.drop()
        self.post_message(self.Sent())

    def take_control_key(self, key: str) -> bool:
        """Do what an Enter, or a Tab read together with other keys, does in this field; whether it was one.

        Here and not by a binding: bindings run in the app's own turn, after the letters that follow in a burst.
        """
        if key == "enter" and self.enter_sends:
            self._held.hold_enter("\n", self.action_send)
            return True
        burst = self.key_burst()
        if key == "tab" and burst is not None and burst.may_be_paste:
            self._held.hold("    ", lambda: self.call_later(self.run_action, "screen.write"))
            return True
        return False

    async def _on_key(self, event: events.Key) -> None:
        if self.take_control_key(event.key):
            event.prevent_default()
            event.stop()
            return
        if event.is_printable:
            self._held.keep()
        if event.character == "/" and not self.text:
            event.prevent_default()
            event.stop()
            self.post_message(self.Canned())
            return
        await super()._on_key(event)
