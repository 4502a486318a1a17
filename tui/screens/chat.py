"""The main screen: the conversation, the question field under it, and a line of words above and below.

Promises: it shows the state it is given and sends what the agent does to the app; it decides nothing. After a question
is sent, digits open the draft's sources and any other letter starts the next question. Knows nothing of sockets.
"""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.screen import Screen

from runtime.events import Citation
from tui.keys import ACTS, Act, bindings
from tui.state import State
from tui.widgets.composer import Composer
from tui.widgets.keybar import KeyBar
from tui.widgets.line import Line
from tui.widgets.status import LinkLine, StatusLine
from tui.widgets.transcript import Transcript
from tui.words import Words


class ChatScreen(Screen[None]):
    """The conversation with one customer."""

    BINDINGS = bindings("chat")

    class Ready(Message):
        """The screen stands; before this nothing can be shown on it."""

    class Cancel(Message):
        """The agent pressed the key that stops a draft."""

    class New(Message):
        """The agent turns to the next customer."""

    class Open(Message):
        """The agent pressed the key of a source of the newest draft."""

        def __init__(self, citations: tuple[Citation, ...], number: int) -> None:
            super().__init__()
            self.citations = citations
            self.number = number

    def __init__(self) -> None:
        super().__init__()
        self.state = State()

    def compose(self) -> ComposeResult:
        """From top to bottom; the question field is not the last."""
        yield LinkLine()
        yield Line(id="empty")
        yield Transcript()
        yield Composer()
        yield StatusLine()
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin with the question field."""
        self.set_focus(self.query_one(Composer))
        self.post_message(self.Ready())

    async def show(self, state: State, words: Words, now: float) -> None:
        """Paint a state. Only what changed is touched."""
        self.state = state
        self.query_one(LinkLine).show(state, words)
        self.query_one(StatusLine).show(state, words, now)
        self.query_one(Composer).label(words)
        welcome = "" if state.turns else f"{words('empty.title')}\n\n{words('empty.body')}"
        self.query_one("#empty", Line).put(welcome)
        transcript = self.query_one(Transcript)
        transcript.display = bool(state.turns)
        await transcript.show(state, words)
        self.query_one(KeyBar).show(self._acts(), words)

    def _acts(self) -> list[Act]:
        current = self.state.current
        writing = isinstance(self.focused, Composer)
        sources = current is not None and bool(current.citations)
        wanted = {
            "cancel": self.state.busy,
            "send": writing and not self.state.busy,
            "cite": sources and not writing,
            "write": sources or not writing,
        }
        hidden = {"newline", "scroll_up", "scroll_down", "theme"}
        acts = [act for act in ACTS if act.where != "article" and act.id not in hidden and wanted.get(act.id, True)]
        # From the question field the same key leads back to the draft and its sources.
        return [act._replace(id="read") if act.id == "write" and writing else act for act in acts]

    def on_key(self, event: events.Key) -> None:
        """Carry a letter typed outside the question field into it; digits and the slash have their own meaning."""
        composer = self.query_one(Composer)
        if not event.is_printable or event.character is None:
            return
        # In a burst (fast typing, an input method's phrase) the rest arrives by the way the first letter took, although
        # the field has the focus by now; then digits are text too.
        if event.character in "123456789/" and self.focused is not composer:
            return
        event.stop()
        event.prevent_default()
        self.set_focus(composer)
        composer.insert(event.character)

    async def on_paste(self, event: events.Paste) -> None:
        """What is pasted outside the question field belongs into it too."""
        composer = self.query_one(Composer)
        self.set_focus(composer)
        await composer._on_paste(event)

    def action_cancel(self) -> None:
        """Stop the draft, or go back to the question field when there is none."""
        self.set_focus(self.query_one(Composer))
        self.post_message(self.Cancel())

    def action_write(self) -> None:
        """Go to the question field, or from there to the conversation."""
        composer = self.query_one(Composer)
        target = self.query_one(Transcript) if self.focused is composer else composer
        self.set_focus(target)

    def action_new(self) -> None:
        """Begin with the next customer."""
        self.set_focus(self.query_one(Composer))
        self.post_message(self.New())

    def action_cite(self, number: int) -> None:
        """Open a source of the newest draft."""
        current = self.state.current
        self.post_message(self.Open(current.citations if current else (), number))

    def action_scroll(self, direction: int) -> None:
        """Turn a page of the conversation, wherever the cursor is."""
        self.query_one(Transcript).turn_page(direction)
