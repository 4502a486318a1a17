"""Text fields, and what is pasted into them.

Promises: pasted text is cleaned (`tui.base.pasted_text`) in every field of the console; a text beyond the limit is
refused as a whole, with a message to say so, and what was typed before stays. Knows nothing of what a field is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from textual import events
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, TextArea

from tui.base.inert_text import inert, one_line
from tui.base.limits import MAX_TEXT_CHARS
from tui.base.pasted_text import KeyBurst, clean_pasted, clean_pasted_line, is_invisible

HOLD_S: Final = 0.03
"""Enter waits this long for a key that follows at once, as it does in a paste. Twice `BURST_GAP_S`: the key must have
come through the queue by then. Nobody feels it beside the time to the first word."""


class TooLong(Message):
    """A text was not taken in, since the field would hold more than `limit` characters."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit


def key_burst_of(widget: Widget) -> KeyBurst | None:
    """The keys of the app that a widget is in; None in an app that does not keep them."""
    app: Any = widget.app
    burst: KeyBurst | None = getattr(app, "key_burst", None)
    return burst


class HeldKey:
    """A key that waits for what follows, since in a paste that comes as keys it is text."""

    def __init__(self, widget: Widget, insert: Callable[[str], object]) -> None:
        """`insert` puts text at the cursor of `widget`."""
        self._widget = widget
        self._insert = insert
        self._timer: Timer | None = None
        """Runs while it is open whether the key acts or is text."""
        self._text = ""

    def hold(self, text: str, act: Callable[[], object]) -> None:
        """Do this, unless a key follows at once: then it was `text`."""
        self.keep()

        def decide() -> None:
            self._timer = None
            act()

        self._timer = self._widget.set_timer(HOLD_S, decide)
        self._text = text

    def hold_enter(self, text: str, send: Callable[[], object]) -> None:
        """Hold an Enter, which ends a paste of several lines as `text`: the agent reads it before it is sent."""
        burst = key_burst_of(self._widget)
        self.hold(text, lambda: self._insert(text) if burst is not None and burst.has_lines else send())

    def keep(self) -> None:
        """Something follows the key that is held: it was text."""
        if self._timer is not None:
            self.drop()
            self._insert(self._text)

    def drop(self) -> None:
        """Forget the key that is held."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None


class Field(Input):
    """One line."""

    def __init__(
        self,
        value: str = "",
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
        restrict: str | None = None,
        max_length: int = 0,
    ) -> None:
        super().__init__(one_line(value), id=id, restrict=restrict, max_length=max_length, select_on_focus=False)
        self.cursor_blink = False
        self._held = HeldKey(self, self.insert_text_at_cursor)

    def take_pasted(self, text: str) -> None:
        """Put pasted text at the cursor, on one line."""
        line = clean_pasted_line(text)
        if self.max_length and len(self.value) + len(line) > self.max_length:
            self.post_message(TooLong(self.max_length))
        else:
            self.insert_text_at_cursor(line)

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.take_pasted(event.text)

    def action_paste(self) -> None:
        """The console's own clipboard, cleaned like any other paste."""
        self.take_pasted(self.app.clipboard)

    async def _on_key(self, event: events.Key) -> None:
        burst = key_burst_of(self)
        if event.is_printable:
            self._held.keep()
        if event.key == "enter" and burst is not None and burst.may_be_paste:
            # Perhaps a line break of a paste that comes as keys, which must not submit what is half pasted; perhaps
            # the agent's own, read together with the word before it by a console that was starved for a moment.
            event.prevent_default()
            event.stop()
            self._held.hold_enter(" ", lambda: self.call_later(self.action_submit))
        elif event.character is not None and is_invisible(event.character):
            event.prevent_default()
            event.stop()
        else:
            await super()._on_key(event)


class Area(TextArea):
    """Several lines."""

    def __init__(
        self,
        text: str = "",
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
        tab_behavior: Literal["focus", "indent"] = "focus",
        max_chars: int = MAX_TEXT_CHARS,
    ) -> None:
        super().__init__(
            inert(text),
            soft_wrap=True,
            show_line_numbers=False,
            highlight_cursor_line=False,
            tab_behavior=tab_behavior,
            id=id,
        )
        self.max_chars = max_chars
        self.cursor_blink = False

    def key_burst(self) -> KeyBurst | None:
        """The keys as they were read, for telling a paste from typing."""
        return key_burst_of(self)

    @property
    def is_too_long(self) -> bool:
        """Whether more was typed than may be sent."""
        return len(self.text) > self.max_chars

    def take_pasted(self, text: str) -> None:
        """Put pasted text at the cursor, its lines kept; a selection makes way for it."""
        cleaned = clean_pasted(text)
        if len(self.text) - len(self.selected_text) + len(cleaned) > self.max_chars:
            self.post_message(TooLong(self.max_chars))
        else:
            self.replace(cleaned, *self.selection)

    def type_text(self, char: str) -> None:
        """Put a typed character at the cursor, unless it is invisible."""
        if not is_invisible(char):
            self.replace(char, *self.selection)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.take_pasted(event.text)

    def action_paste(self) -> None:
        """The console's own clipboard, cleaned like any other paste."""
        self.take_pasted(self.app.clipboard)

    async def _on_key(self, event: events.Key) -> None:
        if event.character is not None and is_invisible(event.character):
            event.prevent_default()
            event.stop()
            return
        await super()._on_key(event)
