"""Rejecting a draft: why, and what would have been right. Both are kept; the right answer teaches the next model.

Promises: one key opens it, a digit or a click names the reason, the right answer may stay empty. Knows nothing of where
the words go.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert
from tui.base.keys import bindings
from tui.base.limits import MAX_TEXT_CHARS
from tui.screens.base import BoxScreen
from tui.widgets.field import Area
from tui.widgets.keybar import KeyBar
from tui.widgets.label import InertLabel

REASONS: Final = ("wrong_fact", "other_question", "incomplete", "tone", "outdated", "language", "other")
"""Names in the catalogue (`reason.<name>`), and what is stored."""


class Rejection(NamedTuple):
    """What the agent said."""

    reason: str
    right: str


class RejectScreen(BoxScreen[Rejection | None]):
    """A list of reasons and a field."""

    WHERE = "form"
    BINDINGS = bindings("form")

    def __init__(self, words: Catalogue, draft: str) -> None:
        super().__init__(words, "reject.title")
        self.draft = draft

    def compose(self) -> ComposeResult:
        """Draft, reasons, right answer, keys."""
        with Vertical(id="box"):
            yield InertLabel(id="form-draft")
            yield InertLabel(classes="label", id="reject-why")
            yield OptionList(id="reject-reasons", markup=False)
            yield InertLabel(classes="label", id="reject-right")
            yield Area(id="reject-answer")
            yield KeyBar()

    def on_mount(self) -> None:
        """Begin with the reason."""
        self.relabel(self.words)
        self.query_one(OptionList).focus()

    def relabel(self, words: Catalogue) -> None:
        """Paint in this language."""
        super().relabel(words)
        self.query_one("#form-draft", InertLabel).put(Content.styled(inert(self.draft), "dim"))
        self.query_one("#reject-why", InertLabel).put(words("reject.why"))
        self.query_one("#reject-right", InertLabel).put(words("reject.right"))
        options = self.query_one(OptionList)
        marked = options.highlighted or 0
        rows = [Option(Content(f"{n}  {words('reason.' + name)}")) for n, name in enumerate(REASONS, start=1)]
        options.set_options(rows)
        options.highlighted = marked

    def on_key(self, event: events.Key) -> None:
        """A digit names the reason and leads on to the right answer; any other letter begins that."""
        if not event.is_printable or event.character is None:
            return
        event.stop()
        answer = self.query_one(Area)
        if event.character in "1234567" and isinstance(self.focused, OptionList):
            self.query_one(OptionList).highlighted = int(event.character) - 1
        else:  # In a burst the rest arrives by the way the digit took.
            answer.type_text(event.character)
        self.set_focus(answer)

    def on_option_list_option_selected(self, _: OptionList.OptionSelected) -> None:
        """The reason is chosen; on to the right answer."""
        self.query_one(Area).focus()

    def action_submit(self) -> None:
        """Close with the reason and the right answer."""
        if self.query_one(Area).is_too_long:
            self.refuse_length(MAX_TEXT_CHARS)
            return
        place = self.query_one(OptionList).highlighted or 0
        self.dismiss(Rejection(REASONS[place], self.query_one(Area).text.strip()))

    def action_drop(self) -> None:
        """Keep the draft after all."""
        self.dismiss(None)
