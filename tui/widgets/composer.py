"""The field for the customer's message or the agent's reply.

Enter sends, Ctrl+J begins a new line, `/` in an empty field brings the canned replies; the rest is typing.
Promises: what is pasted is cleaned and keeps its lines, and nothing in it sends, whether it comes as one event or as a
burst of keys; a paste beyond the limit is refused in words; where another key sends, Enter begins a new line; the field
is never the bottom row of the screen, where an input method's box would cover it (`console.tcss`). Knows nothing of
what is done with the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message
from textual.timer import Timer

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert
from tui.base.keys import bindings
from tui.base.pasted_text import KeyBurst
from tui.state import Mode
from tui.widgets.field import Area

HOLD_S: Final = 0.03
"""Enter waits this long for a key that follows at once, as it does in a paste. Twice `BURST_GAP_S`: the key must have
come through the queue by then. Nobody feels it beside the time to the first word."""


class Composer(Area):
    """A text field of one to five lines."""

    BINDINGS = bindings("composer")

    class Sent(Message):
        """The agent pressed the send key."""

    class Canned(Message):
        """The agent typed a slash into the empty field."""

    def __init__(self) -> None:
        super().__init__(tab_behavior="focus")
        self.enter_sends = True
        self._labelled: tuple[str, Mode] | None = None
        self._held: Timer | None = None
        """Runs while it is open whether an Enter sends or belongs to a paste."""
        self._held_text = ""
        """What the held key is in a paste."""

    def label(self, words: Catalogue, mode: Mode) -> None:
        """Name the field in this language."""
        if self._labelled != (words.lang, mode):
            self._labelled = (words.lang, mode)
            self.placeholder = Content(words(f"composer.hint_{mode.value}"))
            self.border_title = Content(words(f"composer.title_{mode.value}"))
            self.set_class(mode is Mode.REPLY, "reply-mode")

    def set_text(self, text: str) -> None:
        """Replace the text, made inert, the cursor at its end: a draft may be edited whose writer was fooled."""
        self._drop_held()
        self.load_text(inert(text))
        self.move_cursor(self.document.end)

    def type_character(self, char: str) -> None:
        """A character that was typed elsewhere and belongs here."""
        self._keep_held()
        self.type_text(char)

    def action_newline(self) -> None:
        """Begin a new line."""
        self._keep_held()
        self.insert("\n")

    def action_send(self) -> None:
        """Ask for the text to be sent."""
        self._drop_held()
        self.post_message(self.Sent())

    def take_control_key(self, key: str) -> bool:
        """Do what an Enter, or a Tab read together with other keys, does in this field; whether it was one.

        Here and not by a binding: bindings run in the app's own turn, after the letters that follow in a burst.
        """
        burst = self.key_burst()
        if key == "enter" and self.enter_sends:
            self._hold("\n", lambda: self._send_unless_pasted(burst))
            return True
        if key == "tab" and burst is not None and burst.may_be_paste:
            self._hold("    ", lambda: self.call_later(self.run_action, "screen.write"))
            return True
        return False

    def _send_unless_pasted(self, burst: KeyBurst | None) -> None:
        if burst is not None and burst.has_lines:
            self.insert("\n")  # The last line break of a paste: the agent reads it before it is sent.
        else:
            self.action_send()

    def _hold(self, text: str, act: Callable[[], object]) -> None:
        """Do this, unless a key follows at once: then it was `text`, from a paste that comes as keys."""
        self._keep_held()

        def decide() -> None:
            self._held = None
            act()

        self._held = self.set_timer(HOLD_S, decide)
        self._held_text = text

    def _keep_held(self) -> None:
        """Something follows the key that is held: it was text."""
        if self._held is not None:
            self._drop_held()
            self.insert(self._held_text)

    def _drop_held(self) -> None:
        if self._held is not None:
            self._held.stop()
            self._held = None

    async def _on_key(self, event: events.Key) -> None:
        if self.take_control_key(event.key):
            event.prevent_default()
            event.stop()
            return
        if event.is_printable:
            self._keep_held()
        if event.character == "/" and not self.text:
            event.prevent_default()
            event.stop()
            self.post_message(self.Canned())
            return
        await super()._on_key(event)
