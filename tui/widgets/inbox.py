"""The list of conversations. Enter or a click opens one.

Promises: a list that has not changed is not built again; what a row waits for is shown in words. Knows nothing of where
the rows come from.
"""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.base.i18n import Catalogue
from tui.base.inert_text import one_line
from tui.state import InboxRow, State
from tui.widgets.label import InertLabel

MAX_TAGS = 3
QUESTION_CHARS = 200


class InboxPane(Vertical):
    """A heading and the list."""

    class Chosen(Message):
        """The agent turns to this conversation."""

        def __init__(self, conversation: str) -> None:
            super().__init__()
            self.conversation = conversation

    def __init__(self) -> None:
        super().__init__(id="inbox")
        self._shown: tuple[object, ...] = ()
        self._rows: tuple[InboxRow, ...] = ()

    def compose(self) -> ComposeResult:
        """Heading above, list below."""
        yield InertLabel(classes="pane-title", id="inbox-title")
        yield OptionList(id="inbox-list", markup=False)

    def show(self, state: State, words: Catalogue, today: datetime) -> None:
        """Show the rows; the open one is marked."""
        shown = (state.inbox, state.conversation, words.lang, today.date())
        if self._shown and all(one is other or one == other for one, other in zip(shown, self._shown, strict=True)):
            return
        # By identity first: the state keeps the same tuple while nothing changed, and comparing 200 rows at every token
        # of a draft would be most of what a token costs.
        rebuilt = not self._shown or self._shown[0] is not state.inbox or self._shown[2:] != shown[2:]
        moved = not self._shown or self._shown[1] != state.conversation
        before = self._shown[1] if self._shown else None
        self._shown = shown
        waiting = sum(row.waiting and row.status == "open" and not row.practice for row in state.inbox)
        self.query_one("#inbox-title", InertLabel).put(words("inbox.title", count=len(state.inbox), waiting=waiting))
        options = self.query_one(OptionList)
        marked = options.highlighted_option.id if options.highlighted_option is not None else None
        if rebuilt:
            self._rows = state.inbox
            opened = state.conversation
            options.set_options(
                [
                    Option(row_text(row, words, today, row.conversation == opened), id=row.conversation)
                    for row in self._rows
                ]
            )
        elif moved:
            for row in self._rows:
                if row.conversation in (before, state.conversation):
                    text = row_text(row, words, today, row.conversation == state.conversation)
                    options.replace_option_prompt(row.conversation, text)
        wanted = state.conversation if moved else marked
        place = next((n for n, row in enumerate(self._rows) if row.conversation == wanted), None)
        if place is not None and options.highlighted != place:
            options.highlighted = place

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Report the conversation that was chosen."""
        message.stop()
        self.post_message(self.Chosen(message.option.id or ""))


def row_text(row: InboxRow, words: Catalogue, today: datetime, opened: bool) -> Content:
    """Two lines: the newest message; below it when, what it waits for, and tags. The open one has a mark."""
    head = [format_moment(row.asked, today), words(f"inbox.{row.waits}", until=format_moment(row.snooze_until, today))]
    if row.notes:
        head.append(words("inbox.noted"))
    head += [f"#{one_line(tag)}" for tag in row.tags[:MAX_TAGS]]
    style = "bold" if row.waiting and row.status == "open" and not row.practice else ""
    below = Content.styled(("» " if opened else "  ") + " · ".join(part for part in head if part), "dim")
    return Content("\n").join([Content.styled(one_line(row.question[:QUESTION_CHARS]) or " ", style), below])


def format_moment(moment: str, today: datetime) -> str:
    """A time of the journal as people of this time zone read it: the hour today, the day before that."""
    try:
        then = datetime.fromisoformat(moment).astimezone(today.tzinfo)
    except ValueError:
        return ""
    return then.strftime("%H:%M") if then.date() == today.date() else then.strftime("%Y-%m-%d")
