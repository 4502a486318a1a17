"""The console: it holds the state, hears the server, and lets the screens show what changed.

Promises: nothing blocks, and however fast events come the screen is painted once a turn of the event loop; a server
that is absent, starting, stopping or gone is looked for again and again and said in words; what the agent typed is
never lost; quitting ends the draft under way and a server that was started here. Decides nothing itself: `tui.state`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any

from textual.app import App, SystemCommand
from textual.command import CommandPalette
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import TextArea

from runtime.errors import EdgedeskError
from runtime.events import Citation, Failed
from tui.desk import Desk, linked
from tui.keys import ACTS, bindings
from tui.screens.article import ArticleScreen
from tui.screens.chat import ChatScreen
from tui.screens.help import HelpScreen
from tui.state import (
    Asked,
    Cancelled,
    Event,
    Heard,
    Link,
    Linked,
    NewConversation,
    Notice,
    Remarked,
    State,
    Typed,
    reduce,
)
from tui.text import wrap_chinese
from tui.widgets.citations import CitationLine
from tui.widgets.composer import Composer
from tui.widgets.transcript import Transcript
from tui.words import Words

CONTRAST = Theme(
    name="edgedesk-contrast",
    primary="#ffff00",
    secondary="#00ffff",
    warning="#ffff00",
    error="#ff8080",
    success="#00ff00",
    accent="#00ffff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#202020",
    dark=True,
)
THEMES = ("textual-dark", "textual-light", CONTRAST.name)
POLL_S = 2.0
"""How often the server is asked how it is."""
RETRY_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Waits between tries to reach a server that is gone; the last one repeats."""
TICK_S = 0.5
"""How often the elapsed time is painted while a draft is awaited."""


class Console(App[None]):
    """The agents' console on one desk."""

    CSS_PATH = "console.tcss"
    BINDINGS = bindings("app")
    TITLE = "Edgedesk"

    def __init__(
        self,
        desk: Desk,
        words: Words,
        *,
        theme: str = "textual-dark",
        clock: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
        retry_s: tuple[float, ...] = RETRY_S,
    ) -> None:
        wrap_chinese()
        super().__init__()
        self.register_theme(CONTRAST)
        self.theme = theme
        self.desk = desk
        self.words = words
        self.state = State()
        self.chat = ChatScreen()
        self._clock = clock
        self._poll_s = poll_s
        self._retry_s = retry_s
        self._look_now = asyncio.Event()
        self._paint_due = False

    def get_default_screen(self) -> Screen[Any]:
        """The conversation."""
        return self.chat

    def on_chat_screen_ready(self) -> None:
        """Begin to look for the server; a terminal that is closed or a polite kill ends the console as Ctrl+Q does."""
        for number in (signal.SIGHUP, signal.SIGTERM):
            with suppress(ValueError, RuntimeError):  # Only the main thread may set them.
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.set_interval(TICK_S, self._tick)
        self.run_worker(self._watch(), group="watch")
        self._repaint()

    async def on_unmount(self) -> None:
        """Let go of the server."""
        self.workers.cancel_all()
        await self.desk.close()

    def dispatch(self, event: Event) -> None:
        """Take an event into the state and have it painted. What stands in the question field is taken in first."""
        if not self.is_running:
            return  # Quitting: the screens are being taken down.
        composer = self.chat.query_one(Composer)
        before = reduce(self.state, Typed(composer.text))
        after = reduce(before, event)
        if after.composer != composer.text:
            composer.set_text(after.composer)
            if after.composer:
                self.chat.set_focus(composer)  # A question that came back is at hand to be changed and sent again.
        if after is not self.state:
            self.state = after
            self._repaint()

    def _repaint(self) -> None:
        if not self._paint_due:
            self._paint_due = True
            self.call_next(self._paint)

    async def _paint(self) -> None:
        self._paint_due = False
        if not self.is_running:
            return
        await self.chat.show(self.state, self.words, self._clock())

    def _tick(self) -> None:
        if self.state.busy:
            self._repaint()

    async def _watch(self) -> None:
        """Ask the server how it is; start one if that is ours to do; say what is known."""
        while True:
            wait = self._poll_s
            try:
                self.dispatch(linked(await self.desk.status()))
                if self.state.link is not Link.READY:
                    wait = self._retry_s[0]
            except EdgedeskError as error:
                wait = await self._revive(error)
            await self._wait(wait)

    async def _revive(self, error: EdgedeskError) -> float:
        """What to do about a server that does not answer; seconds until the next look."""
        if self.state.link is not Link.LOOKING:
            self.dispatch(Linked(Link.GONE, why=error.what))
            await self._wait(self._retry_s[min(self.state.retry, len(self._retry_s)) - 1])
        try:
            if await self.desk.start():
                self.dispatch(Linked(Link.STARTING))
                return self._retry_s[0]
        except EdgedeskError as failure:
            error = failure
        if self.state.link is Link.LOOKING:
            self.dispatch(Linked(Link.GONE, why=error.what))
        return 0.0

    async def _wait(self, seconds: float) -> None:
        """That long, or until somebody has reason to look sooner."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._look_now.wait(), seconds)
        self._look_now.clear()

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        """The agent typed."""
        self.dispatch(Typed(message.text_area.text))

    def on_composer_sent(self) -> None:
        """Send the question, or say why not."""
        before = self.state.asked
        self.dispatch(Asked(self._clock()))
        turn = self.state.current
        if turn is None or turn.number == before:
            return
        self.chat.set_focus(self.chat.query_one(Transcript))
        self.run_worker(self._ask(turn.number, turn.question, self.state.conversation), group="ask", exclusive=True)

    async def _ask(self, number: int, question: str, conversation: str | None) -> None:
        try:
            async with aclosing(self.desk.ask(question, conversation)) as stream:
                async for event in stream:
                    self.dispatch(Heard(number, self._clock(), event))
        except EdgedeskError as error:
            self.dispatch(Heard(number, self._clock(), Failed.of(error)))
            self._look_now.set()

    def on_chat_screen_cancel(self) -> None:
        """Stop the draft; its question comes back into the field."""
        self.dispatch(Cancelled())
        self.workers.cancel_group(self, "ask")

    def on_chat_screen_new(self) -> None:
        """Begin with the next customer, unless a draft is under way."""
        self.dispatch(NewConversation())

    def on_chat_screen_open(self, message: ChatScreen.Open) -> None:
        """Open a source by its key."""
        self._open(message.citations, message.number)

    def on_citation_line_opened(self, message: CitationLine.Opened) -> None:
        """Open a source by a click."""
        self._open(message.citations, message.number)

    def _open(self, citations: tuple[Citation, ...], number: int) -> None:
        if number > len(citations):
            self.dispatch(Remarked(Notice("no_source", number)))
            return
        self.push_screen(ArticleScreen(citations, number, self.words, self.desk.article))

    def action_help(self) -> None:
        """Show the key table."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.words))

    def action_help_quit(self) -> None:
        """Ctrl+C is copy in a terminal program; say how to leave."""
        self.dispatch(Remarked(Notice("quit")))

    def action_language(self) -> None:
        """Switch the interface to the other language, everywhere."""
        self.words = self.words.other()
        for screen in self.screen_stack:
            if isinstance(screen, ArticleScreen | HelpScreen):
                screen.relabel(self.words)
        self._repaint()

    def action_theme(self) -> None:
        """Dark, light, high contrast, and so on."""
        self.theme = THEMES[(THEMES.index(self.theme) + 1) % len(THEMES)] if self.theme in THEMES else THEMES[0]

    def action_command_palette(self) -> None:
        """Every command by name, in the interface's language."""
        if not any(isinstance(screen, CommandPalette) for screen in self.screen_stack):
            self.push_screen(CommandPalette(placeholder=self.words("palette.hint"), id="--command-palette"))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The acts that need no argument, on the screen they belong to."""
        places = {"app": self, "chat": self.chat} if screen is self.chat else {"app": self, "article": screen}
        for act in ACTS:
            place = places.get(act.where)
            if place is not None and "(" not in act.action and act.id != "commands":
                run = getattr(place, f"action_{act.action}")
                yield SystemCommand(self.words(f"help.{act.id}"), act.shown, run)
