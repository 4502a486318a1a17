"""Text fields, and what is pasted into them.

Promises: pasted text is cleaned (`tui.base.pasted_text`) in every field of the console; a text beyond the limit is
refused as a whole, with a message to say so, and what was typed before stays. Knows nothing of what a field is for.
"""

from __future__ import annotations

from typing import Any, Literal

from textual import events
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, TextArea

from tui.base.inert_text import inert, one_line
from tui.base.limits import MAX_TEXT_CHARS
from tui.base.pasted_text import KeyBurst, clean_pasted, clean_pasted_line, is_invisible


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
        if event.key == "enter" and burst is not None and burst.may_be_paste:
            # A line break of a paste that comes as keys: it must not choose or submit what is half pasted.
            event.prevent_default()
            event.stop()
            self.insert_text_at_cursor(" ")
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
