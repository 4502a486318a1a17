"""The main screen: inbox, conversation, and what helps with it; one pane at a time where there is no room for more.

Promises: it shows the state it is given and tells the app what the agent wants; it decides nothing. After a message is
sent, digits open the draft's sources and any other letter starts the next message. Knows nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen

from runtime.events import Citation
from tui.base.i18n import Catalogue
from tui.base.keys import Command, bindings
from tui.screens.layout import PANES, next_pane, visible_panes
from tui.state import Mode, State
from tui.widgets.assist import AssistPane, doubt_lines
from tui.widgets.composer import Composer
from tui.widgets.inbox import InboxPane
from tui.widgets.keybar import KeyBar
from tui.widgets.label import InertLabel
from tui.widgets.status import LinkLine, StatusLine
from tui.widgets.transcript import Transcript


class ChatScreen(Screen[None]):
    """The conversation with one customer, and the others beside it."""

    BINDINGS = bindings("chat")

    class Ready(Message):
        """The screen is mounted; nothing can be shown on it before."""

    class Open(Message):
        """The agent pressed the key of a source of the newest draft."""

        def __init__(self, citations: tuple[Citation, ...], number: int) -> None:
            super().__init__()
            self.citations = citations
            self.number = number

    def __init__(self, commands: tuple[Command, ...], want: Callable[[str], None]) -> None:
        """`want` gets the id of each command the agent wants done, before their next key is handled."""
        super().__init__()
        self.state = State()
        self.commands = commands
        self._want = want
        self.pane = "talk"

    def compose(self) -> ComposeResult:
        """From top to bottom; the field is not the last."""
        yield LinkLine()
        with Horizontal(id="panes"):
            yield InboxPane()
            with Vertical(id="talk"):
                yield InertLabel(id="empty")
                yield Transcript()
                yield InertLabel(id="doubts")
                yield Composer()
            yield AssistPane()
        yield StatusLine()
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin with the field."""
        composer = self.query_one(Composer)
        send = next(command for command in self.commands if command.id == "send")
        composer.enter_sends = "enter" in send.keys.split(",")
        self._arrange()
        self.set_focus(composer)
        self.post_message(self.Ready())

    def on_resize(self, _: events.Resize) -> None:
        """More room, or less."""
        self._arrange()
        self._repaint()

    def _arrange(self) -> None:
        shown = visible_panes(self.app.size.width, self.pane)
        for name in PANES:
            self.query_one(f"#{name}").display = name in shown
        self.query_one("#panes").set_class(len(shown) == 1, "one")
        self.query_one("#panes").set_class("assist" in shown and len(shown) > 1, "assisted")

    def show(self, state: State, words: Catalogue, now: float, today: datetime) -> None:
        """Paint a state. Only what changed is touched."""
        self.state = state
        self.query_one(LinkLine).show(state, words)
        self.query_one(StatusLine).show(state, words, now)
        self.query_one(Composer).label(words, state.mode)
        self.query_one("#empty", InertLabel).put(_welcome(state, words))
        transcript = self.query_one(Transcript)
        transcript.display = bool(state.turns)
        transcript.show(state, words, assisted=self.query_one("#panes").has_class("assisted"))
        self.query_one("#doubts", InertLabel).put("\n".join(doubt_lines(state.doubts, words)))
        self.query_one(InboxPane).show(state, words, today)
        self.query_one(AssistPane).show(state, words, now)
        self.query_one(KeyBar).show(self._wanted(), words)

    def _wanted(self) -> list[Command]:
        """The commands that count now, the most wanted first."""
        turn, by_id = self.state.current, {command.id: command for command in self.commands}
        writing = isinstance(self.focused, Composer)
        offered = turn is not None and turn.offered
        sources = turn is not None and bool(turn.citations)
        order = [
            ("cancel", self.state.busy or self.state.mode is Mode.REPLY),
            ("send", writing and bool(self.state.composer.strip() or not self.state.turns)),
            ("accept", offered),
            ("edit", turn is not None and not turn.busy and not turn.verdict and self.state.mode is Mode.CUSTOMER),
            ("reject", offered),
            ("cite", sources and not writing),
            ("write", sources or not writing),
            ("why", offered),
            ("copy", turn is not None and not turn.busy),
            ("handoff", turn is not None),
            ("new", bool(self.state.turns)),
            ("canned", writing and not self.state.composer),
            ("past", True),
            ("knowledge", True),
            ("pane", True),
            ("wrap", turn is not None),
            ("help", True),
            ("commands", True),
            ("language", True),
            ("quit", True),
        ]
        commands = [by_id[name] for name, wanted in order if wanted]
        # From the field the same key leads back to the draft and its sources.
        return [command._replace(id="read") if command.id == "write" and writing else command for command in commands]

    def on_key(self, event: events.Key) -> None:
        """Carry a letter typed outside the field into it; digits and the slash have their own meaning."""
        composer = self.query_one(Composer)
        # In a burst (a paste, fast typing, an input method's phrase) the rest arrives by the way the first letter took,
        # although the field has the focus by now; then digits are text too, and Enter is the field's.
        late = self.focused is composer
        if late and composer.take_control_key(event.key):
            event.stop()
            event.prevent_default()
            return
        if not event.is_printable or event.character is None or (event.character in "123456789/" and not late):
            return
        event.stop()
        event.prevent_default()
        self.go("talk")
        composer.type_character(event.character)

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted outside the field belongs into it too."""
        event.stop()
        self.go("talk")
        # As the field's own message: one that it posted in this screen's turn would not bubble past this screen.
        self.query_one(Composer).post_message(events.Paste(event.text))

    def go(self, pane: str) -> None:
        """Bring a pane on screen and put the cursor into it."""
        self.pane = pane
        self._arrange()
        self.set_focus(self.query_one({"inbox": "#inbox-list", "talk": "Composer", "assist": "#assist-blocks"}[pane]))
        self._repaint()

    def _repaint(self) -> None:
        if self.is_mounted and hasattr(self.app, "repaint"):
            self.app.repaint()

    def read(self) -> None:
        """The cursor into the conversation, where digits open sources."""
        self.set_focus(self.query_one(Transcript))

    def action_pane(self) -> None:
        """The next pane."""
        self.go(next_pane(self.pane))

    def action_do(self, command: str) -> None:
        """Tell the app; Esc first leads back from the other panes."""
        if command == "cancel" and self.pane != "talk":
            self.go("talk")
            return
        if command == "cancel":
            self.set_focus(self.query_one(Composer))
        self._want(command)

    def action_write(self) -> None:
        """Go to the field, or from there to the conversation."""
        composer = self.query_one(Composer)
        if self.pane != "talk":
            self.go("talk")
            return
        self.set_focus(self.query_one(Transcript) if self.focused is composer else composer)

    def action_cite(self, number: int) -> None:
        """Open a source of the newest draft."""
        current = self.state.current
        self.post_message(self.Open(current.citations if current else (), number))

    def action_scroll(self, direction: int) -> None:
        """Turn a page of the conversation, wherever the cursor is."""
        self.query_one(Transcript).turn_page(direction)


def _welcome(state: State, words: Catalogue) -> str:
    if state.turns:
        return ""
    if state.thread.loading:
        return words("empty.loading")
    return f"{words('empty.title')}\n\n{words('empty.body')}"
