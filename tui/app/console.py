"""The console: it holds the state, puts its parts together, and lets the screens show what changed.

    tui.state            what the console knows, and how each event changes it
    tui.app.actions      commands that change something      tui.app.lookups    commands that only look
    tui.app.sync         the background work                 tui.app.practice   the simulated customer
    tui.app.talking      speaking in place of typing

The parts see the console as `tui.app.view.View` and never import this module. Promises: nothing blocks, and however
fast events come, the screen is painted at most once in `FRAME_S`; what the agent typed is never lost; quitting ends the
draft under way and a server that was started here. Decides nothing itself.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App
from textual.screen import Screen
from textual.widgets import TextArea

from runtime.errors import EdgedeskError
from tui.app.actions import Actions
from tui.app.attachments import Attachments
from tui.app.boxes import Boxes
from tui.app.lookups import Lookups
from tui.app.practice import Practice
from tui.app.sync import Sync
from tui.app.talking import Talking
from tui.app.view import Result, Work
from tui.base.i18n import Catalogue
from tui.base.inert_text import wrap_chinese
from tui.base.keys import bindings, key_label, with_own_keys
from tui.base.pasted_text import KeyBurst
from tui.base.settings import ConsoleSettings
from tui.base.themes import CONTRAST, THEMES, is_plain, use_plain_bars
from tui.screens.article import ArticleScreen
from tui.screens.base import BoxScreen
from tui.screens.chat import ChatScreen
from tui.screens.finder import FinderResult, FinderScreen, narrow_choices
from tui.screens.help import HelpScreen
from tui.screens.page import PageScreen
from tui.services import clipboard
from tui.services.private_files import PrivateFiles, find_protection
from tui.services.server_link import ServerLink
from tui.services.session_file import SessionFile
from tui.services.speech_input import SpeechInput
from tui.state import Event, Linked, Notice, Remarked, State, Typed, reduce
from tui.widgets.composer import Composer
from tui.widgets.field import TooLong
from tui.widgets.inbox import InboxPane
from tui.widgets.transcript import Transcript

POLL_S = 2.0
"""How often the server is asked how it is, and what is new."""
RETRY_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Waits between tries to reach a server that is gone; the last one repeats."""
FRAME_S = 1 / 20
"""At most so often is a state painted; what is typed is painted by the field itself, at once."""
LAST_WRITE_S = 5.0
"""What is last written to a terminal that is gone can block for ever; by then all is kept and the process may end."""
TICK_S = 0.5
"""How often the elapsed time is painted while a draft is awaited."""


class Console(App[None]):
    """The agents' console on one desk."""

    CSS_PATH = "console.tcss"
    BINDINGS = bindings("app")
    TITLE = "Edgedesk"
    ENABLE_COMMAND_PALETTE = False  # There is one of our own.

    def __init__(
        self,
        server: ServerLink,
        words: Catalogue,
        *,
        settings: ConsoleSettings | None = None,
        folder: Path | None = None,
        speech: SpeechInput | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        poll_s: float = POLL_S,
        retry_s: tuple[float, ...] = RETRY_S,
        frame_s: float = FRAME_S,
    ) -> None:
        """`folder` is where it may write: what it remembers, copies and exports; without one it writes nothing."""
        wrap_chinese()
        super().__init__()
        self.settings = settings or ConsoleSettings()
        self.commands = with_own_keys(self.settings.keys)
        self.register_theme(CONTRAST)
        self.theme = THEMES[self.settings.theme]
        if is_plain(os.environ):
            self.add_class("plain")
            use_plain_bars()
        self.set_keymap(self.settings.keys)
        self.server = server
        self.words = words
        self.state = State()
        self.clock = clock
        self.today = today
        protection = find_protection(folder) if folder else None
        self._files = PrivateFiles(folder, protection) if folder and protection else None
        session = SessionFile(folder, protection) if folder and protection else None
        self.boxes = Boxes(self)
        self.sync = Sync(self, session, poll_s, retry_s)
        # Each of the two hands over to the other: a verdict moves the practice customer, who then sends a message.
        self.attachments = Attachments(self, self.boxes)
        self.actions = Actions(
            self, self.boxes, self.sync, lambda: self.practice.follow(), asking=self.attachments.asking
        )
        self.practice = Practice(self, self.boxes, self.actions.send)
        self.talking = Talking(self, speech)
        self.lookups = Lookups(self, self.boxes, self.actions.open_conversation)
        self._by_id = self._command_table()
        self.chat = ChatScreen(self.commands, self.do)
        self._frame_s = frame_s
        self._paint_due = False
        self._painted = 0.0
        self._hung_up = False
        self.key_burst = KeyBurst()

    def _command_table(self) -> dict[str, Callable[[], None]]:
        """What `do('…')` in `tui.base.keys` calls."""
        actions, lookups = self.actions, self.lookups
        return {
            "accept": actions.accept,
            "edit": actions.edit,
            "reject": actions.reject,
            "cancel": actions.cancel,
            "again": actions.ask_again,
            "canned": actions.insert_canned,
            "copy": actions.copy_reply,
            "new": actions.begin_conversation,
            "handoff": actions.hand_off,
            "labels": actions.correct_labels,
            "wrap": actions.wrap_up,
            "snooze": actions.snooze,
            "export": actions.export,
            "attach": self.attachments.choose,
            "ahead": actions.toggle_reading_ahead,
            "practice": self.practice.begin,
            "talk": self.talking.toggle,
            "knowledge": lookups.search_articles,
            "past": lookups.search_past,
            "queue": lookups.show_handoff_queue,
            "why": lookups.explain_draft,
            "lens": lookups.show_outgoing,
            "gaps": lookups.show_gaps,
            "receipt": lookups.show_receipt,
            "shift": lookups.show_shift,
            "supervisor": lookups.show_branch,
        }

    def do(self, command: str) -> None:
        """Do what the key table calls this command."""
        self._by_id[command]()

    def watch_theme(self, name: str) -> None:
        """High contrast has firmer lines too (class `contrast` in console.tcss)."""
        self.set_class(name == CONTRAST.name, "contrast")

    def get_default_screen(self) -> Screen[Any]:
        """The conversation."""
        return self.chat

    def on_chat_screen_ready(self) -> None:
        """Begin to look for the server; a terminal that is closed or a polite kill ends the console as Ctrl+Q does."""
        for number in (signal.SIGHUP, signal.SIGTERM):
            with suppress(ValueError, RuntimeError):  # Only the main thread may set them.
                asyncio.get_running_loop().add_signal_handler(number, self._hang_up)
        self.sync.restore()
        self.set_interval(TICK_S, self._tick)
        self.run_worker(self.sync.watch(), group="watch")
        self.repaint()
        # Everything allocated so far lives as long as the console. Looking through it for garbage every few seconds
        # delayed keys by 60 ms.
        gc.freeze()

    async def on_unmount(self) -> None:
        """Remember, and let go of the server."""
        self.workers.cancel_all()
        await self.sync.leave()
        await self.sync.last_save()
        await self.sync.remember()
        await self.server.close()
        if self._hung_up:
            end = threading.Timer(LAST_WRITE_S, os._exit, (1,))
            end.daemon = True
            end.start()

    def _hang_up(self) -> None:
        """The terminal is closed, or somebody ends the console politely."""
        self._hung_up = True
        self.exit()

    def dispatch(self, event: Event) -> None:
        """Take an event into the state and have it painted. The text of the field is taken in first."""
        if not self.is_running:
            return  # Quitting: the screens are being taken down.
        composer = self.chat.query_one(Composer)
        # The field's own change message may still be in its queue. Without this an event that replaces the text, such
        # as a newer text of another console, would overwrite what was typed in the meantime.
        before = reduce(self.state, Typed(composer.text))
        after = reduce(before, event)
        if after.composer != composer.text:
            composer.set_text(after.composer)
            if after.composer and not isinstance(event, Linked) and self.screen is self.chat:
                self.chat.set_focus(composer)  # What came back is at hand to be changed and sent again.
        if after is not self.state:
            self.state = after
            self.sync.changed()
            self.repaint()

    def say(self, name: str, *, number: int = 0, text: str = "") -> None:
        """A remark to the agent, by its name in the catalogue."""
        self.dispatch(Remarked(Notice(name, number, text)))

    def repaint(self) -> None:
        """Paint as soon as the last frame is old enough."""
        if not self._paint_due:
            self._paint_due = True
            wait = self._painted + self._frame_s - time.monotonic()
            if wait > 0:
                self.set_timer(wait, self._paint)
            else:
                self.call_next(self._paint)

    def _paint(self) -> None:
        self._paint_due = False
        self._painted = time.monotonic()
        if not self.is_running:
            return
        self.chat.show(self.state, self.words, self.clock(), self.today())

    def _tick(self) -> None:
        if self.state.busy:
            self.repaint()

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        """The agent typed."""
        if isinstance(message.text_area, Composer):
            self.dispatch(Typed(message.text_area.text))
            self.sync.typed()

    async def on_event(self, event: events.Event) -> None:
        """Note when each key was read, before any screen sees it, so that a burst of keys is known for a paste."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            self.key_burst.note(event.key, event.time)
        await super().on_event(event)

    def on_too_long(self, message: TooLong) -> None:
        """A paste was refused."""
        self.say("too_long", number=message.limit)

    def on_composer_sent(self) -> None:
        """Send the message or the reply, or say why not."""
        self.actions.send()

    def on_composer_picture_pasted(self, message: Composer.PicturePasted) -> None:
        """A picture was dropped into the terminal, which pastes its path."""
        self.attachments.attach(message.path)

    def on_composer_canned(self) -> None:
        """A slash in the empty field."""
        self.do("canned")

    def on_inbox_pane_chosen(self, message: InboxPane.Chosen) -> None:
        """Turn to another conversation."""
        self.actions.open_conversation(message.conversation)

    def on_chat_screen_open(self, message: ChatScreen.Open) -> None:
        """Open a source by its key."""
        self.boxes.open_source(message.citations, message.number)

    def on_transcript_opened(self, message: Transcript.Opened) -> None:
        """Open a source by a click."""
        self.boxes.open_source(message.citations, message.number)

    def on_page_screen_copy(self, message: PageScreen.Copy) -> None:
        """Copy or save a page."""
        said = self.save(f"{message.name}.txt", message.text) if message.name else self.copy(message.text)
        if isinstance(self.screen, PageScreen):
            self.screen.note(said)

    # What the parts may ask for: `tui.app.view.View`.

    def show_pane(self, pane: str) -> None:
        """Bring a pane on screen and put the cursor into it."""
        self.chat.go(pane)

    def show_draft(self) -> None:
        """Put the cursor into the conversation."""
        self.chat.read()

    def open_box(self, box: Screen[Result], done: Callable[[Result | None], None] | None = None) -> None:
        """Open a screen over the conversation."""
        self.push_screen(box, done)

    def start_work(self, work: Work, group: str, *, exclusive: bool = False) -> None:
        """Let work go on in the background."""
        self.run_worker(work, group=group, exclusive=exclusive)

    def cancel_work(self, group: str) -> None:
        """End the work of a group."""
        self.workers.cancel_group(self, group)

    def after(self, seconds: float, call: Callable[[], Awaitable[None]]) -> None:
        """Do something after so many seconds."""
        self.set_timer(seconds, call)

    def copy_to_clipboard(self, text: str) -> None:
        """What was selected with the mouse goes the same way as a reply."""
        self._clipboard = text  # Ctrl+V in a field of this console brings it back.
        self.say("plain", text=self.copy(text))

    def copy(self, text: str) -> str:
        """Into the terminal's clipboard, and into a file; what to say about it."""
        if self._driver is not None and (sequence := clipboard.sequence(text, os.environ)):
            self._driver.write(sequence)
        try:
            if self._files is None:
                return self.words("copy.done_no_folder", count=len(text))
            path = self._files.keep_clipboard(text)
        except (OSError, EdgedeskError) as error:
            return self.words("copy.no_file", count=len(text), why=str(error))
        return self.words("copy.done", count=len(text), path=path)

    def save(self, name: str, text: str) -> str:
        """Into a file of the exports; what to say about it."""
        if self._files is None:
            return self.words("save.nowhere")
        try:
            path = self._files.export(name, text)
        except (OSError, EdgedeskError) as error:
            return self.words("save.failed", why=str(error))
        return self.words("save.done", path=path)

    def action_help(self) -> None:
        """Show the key table."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.words, self.commands))

    def action_help_quit(self) -> None:
        """Ctrl+C is copy in a terminal program; say how to leave."""
        self.say("quit")

    def action_language(self) -> None:
        """Switch the interface to the other language, everywhere."""
        self.words = self.words.other()
        for screen in self.screen_stack:
            if relabel := getattr(screen, "relabel", None):
                relabel(self.words)
        self.repaint()

    def action_theme(self) -> None:
        """Dark, light, high contrast, and so on."""
        names = list(THEMES.values())
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    def action_command_palette(self) -> None:
        """Every command by name, in the interface's language: those of the screen, then those that count everywhere."""
        under = self.screen
        if isinstance(under, BoxScreen):
            return
        here = "chat" if under is self.chat else "article" if isinstance(under, ArticleScreen) else ""
        commands = [
            command
            for command in self.commands
            if command.where in (here, "app") and command.keys != "1" and command.id != "commands"
        ]
        named = [one for one in commands if one.where != "chat" or one.action.startswith("do(")]
        rows = [FinderResult(self.words(f"help.{one.id}"), one, key_label(one)) for one in named]

        async def done(one: FinderResult | None) -> None:
            if one is not None:
                await self.run_action(one.value.action, default_namespace=self if one.value.where == "app" else under)

        self.push_screen(FinderScreen(self.words, "palette.title", narrow_choices(rows), hint="palette.hint"), done)
