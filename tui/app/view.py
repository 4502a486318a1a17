"""What commands, lookups, practice and the background work may ask of the console: `View`.

`tui.app.console` is the only implementation; the modules that it is made of depend on this Protocol and never on it, so
each can be read, and tested, without the others. Knows nothing of how anything is shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol, TypeVar

from textual.screen import Screen

from tui.base.i18n import Catalogue
from tui.base.settings import ConsoleSettings
from tui.services.server_link import ServerLink
from tui.state import Event, State

Result = TypeVar("Result")
Work = Coroutine[Any, Any, None]
"""A coroutine that runs while the agent does something else."""


class View(Protocol):
    """The running console, as its parts see it."""

    settings: ConsoleSettings
    server: ServerLink
    clock: Callable[[], float]
    """Seconds of a monotonic clock."""
    today: Callable[[], datetime]
    """The wall clock, with its time zone."""

    @property
    def state(self) -> State:
        """What the console knows now."""
        ...

    @property
    def words(self) -> Catalogue:
        """The interface's language, which may change at any time."""
        ...

    def dispatch(self, event: Event) -> None:
        """Take an event into the state and have it painted."""
        ...

    def say(self, name: str, *, number: int = 0, text: str = "") -> None:
        """Show a remark, by its name in the catalogue (`notice.<name>`), until the agent's next action."""
        ...

    def show_pane(self, pane: str) -> None:
        """Bring a pane (`tui.screens.layout.PANES`) on screen and put the cursor into it."""
        ...

    def show_draft(self) -> None:
        """Put the cursor into the conversation, where digits open sources."""
        ...

    def open_box(self, box: Screen[Result], done: Callable[[Result | None], None] | None = None) -> None:
        """Open a screen over the conversation; `done` gets its result once it is closed."""
        ...

    def start_work(self, work: Work, group: str, *, exclusive: bool = False) -> None:
        """Let work go on in the background; `exclusive` first cancels what else is in the group."""
        ...

    def cancel_work(self, group: str) -> None:
        """End the work of a group."""
        ...

    def after(self, seconds: float, call: Callable[[], Awaitable[None]]) -> None:
        """Do something after so many seconds."""
        ...

    def copy(self, text: str) -> str:
        """Put a text into the clipboard; returns what to say about it."""
        ...

    def save(self, name: str, text: str) -> str:
        """Write a text into a file of the exports; returns what to say about it."""
        ...
