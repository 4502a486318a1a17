"""Everything that can happen to the console, as values. `tui.state.state.reduce` says what each does."""

from __future__ import annotations

from dataclasses import dataclass

from runtime import events
from runtime.client.answers import Conversation
from tui.state.inbox import InboxRow
from tui.state.link import WELL, Health, Link
from tui.state.session import Session


@dataclass(frozen=True)
class Notice:
    """A remark, by its name in the catalogue (`notice.<name>`)."""

    name: str
    number: int = 0
    text: str = ""


@dataclass(frozen=True)
class Typed:
    """The composer's text changed."""

    text: str


@dataclass(frozen=True)
class Asked:
    """The agent sent a customer's message. The console reports what was typed before any other event."""

    at: float


@dataclass(frozen=True)
class Cancelled:
    """The agent stopped the draft."""


@dataclass(frozen=True)
class Accepted:
    """The agent sends the draft unchanged."""

    at: float


@dataclass(frozen=True)
class Editing:
    """The agent wants to write the reply, beginning with the draft."""


@dataclass(frozen=True)
class LeftReply:
    """The agent goes back from the reply to the customer's next message; what was written of the reply is kept."""


@dataclass(frozen=True)
class Replied:
    """The agent sent the reply they wrote."""

    at: float


@dataclass(frozen=True)
class Rejected:
    """The draft is no use: why, and what would have been right."""

    at: float
    reason: str
    right: str


@dataclass(frozen=True)
class Inserted:
    """A canned reply, or a passage of an article, goes into the reply."""

    text: str


@dataclass(frozen=True)
class Doubted:
    """What must be looked at before this reply is sent; sending it again sends it anyway."""

    reply: str
    items: tuple[tuple[str, str], ...]
    """(`unsupported` or `internal`, what)."""


@dataclass(frozen=True)
class Saved:
    """The server has the verdict on a turn."""

    turn: int


@dataclass(frozen=True)
class Labelled:
    """The agent corrected what the customer wants or feels; an empty one stays."""

    turn: int
    intent: str = ""
    emotion: str = ""


@dataclass(frozen=True)
class HandedOff:
    """A turn was handed to a person, taken, or closed."""

    turn: int
    reason: str
    state: str


@dataclass(frozen=True)
class NewConversation:
    """The agent begins with another customer. `practice` names a conversation that is none of the company's."""

    practice: str = ""


@dataclass(frozen=True)
class Opened:
    """The agent turns to a conversation of the inbox."""

    conversation: str


@dataclass(frozen=True)
class Loaded:
    """A conversation as the server has it, from any console."""

    conversation: Conversation


@dataclass(frozen=True)
class Sourced:
    """The words of sources of which only the names were known."""

    turn: int
    citations: tuple[events.Citation, ...]


@dataclass(frozen=True)
class Listed:
    """The inbox as the server has it."""

    rows: tuple[InboxRow, ...]


@dataclass(frozen=True)
class Synced:
    """Unsent text of a conversation as the server has it; another console of this branch may have typed it."""

    conversation: str
    text: str
    mode: str
    revision: int
    over: str
    """The text here when the server was asked. Text typed since then is newer and stays."""


@dataclass(frozen=True)
class Kept:
    """The server has the unsent text of a conversation as it stood here a moment ago."""

    conversation: str
    revision: int


@dataclass(frozen=True)
class Restored:
    """What the console remembers of its last session."""

    session: Session


@dataclass(frozen=True)
class ReadAhead:
    """The server reads the message that is being typed."""

    state: str
    """`reading`, `ready`, `off`, `nothing`."""
    tokens: int = 0
    conversation: str | None = None


@dataclass(frozen=True)
class Remarked:
    """Something to say to the agent."""

    notice: Notice


@dataclass(frozen=True)
class Heard:
    """The server sent an event for turn number `turn`; it came at `at`."""

    turn: int
    at: float
    event: events.Event


@dataclass(frozen=True)
class Linked:
    """News of the server."""

    link: Link
    why: str = ""
    bundle: str = ""
    model: str = ""
    health: Health = WELL


Decided = Accepted | Replied | Rejected
"""What ends a draft."""
Event = (
    Typed | Asked | Cancelled | Decided | Editing | LeftReply | Inserted | Doubted | Saved | Labelled | HandedOff
    | NewConversation | Opened | Loaded | Sourced | Listed | Synced | Kept | Restored | ReadAhead | Remarked | Heard
    | Linked
)  # fmt: skip
