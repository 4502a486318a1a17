"""What the console knows, as one value, and how each event changes it: `reduce(state, event) -> state`.

    turn.py     one message of a customer, its draft, and what became of it
    acceptance.py   whether a draft is safe to accept, and why not
    thread.py   one conversation: turns, what is typed, whether a message or a reply
    inbox.py    the list of conversations
    link.py     the server, and what else the branch is up to
    session.py  what survives the console's end
    events.py   everything that can happen
    state.py    the whole, and `reduce`

Promises: pure; the clock comes in with the events (`at`, seconds of a monotonic clock). Knows nothing of Textual,
sockets, files and languages.
"""

from __future__ import annotations

from tui.state.acceptance import acceptance_doubts
from tui.state.events import (
    Accepted,
    Asked,
    Cancelled,
    Decided,
    Doubted,
    Editing,
    Event,
    HandedOff,
    Heard,
    Inserted,
    Kept,
    Labelled,
    LeftReply,
    Linked,
    Listed,
    Loaded,
    NewConversation,
    Notice,
    Opened,
    ReadAhead,
    Rejected,
    Remarked,
    Replied,
    Restored,
    Saved,
    Sourced,
    Synced,
    Typed,
)
from tui.state.inbox import InboxRow
from tui.state.link import Health, Link
from tui.state.session import KeptThread, KeptTurn, Session, recall, remember
from tui.state.state import State, newest_stored_turn, reduce
from tui.state.thread import MAX_TURNS, Meta, Mode, Thread
from tui.state.turn import CALM, ConsoleTurn, Labels, Phase

__all__ = [
    "CALM",
    "MAX_TURNS",
    "Accepted",
    "Asked",
    "Cancelled",
    "ConsoleTurn",
    "Decided",
    "Doubted",
    "Editing",
    "Event",
    "HandedOff",
    "Health",
    "Heard",
    "InboxRow",
    "Inserted",
    "Kept",
    "KeptThread",
    "KeptTurn",
    "Labelled",
    "Labels",
    "LeftReply",
    "Link",
    "Linked",
    "Listed",
    "Loaded",
    "Meta",
    "Mode",
    "NewConversation",
    "Notice",
    "Opened",
    "Phase",
    "ReadAhead",
    "Rejected",
    "Remarked",
    "Replied",
    "Restored",
    "Saved",
    "Session",
    "Sourced",
    "State",
    "Synced",
    "Thread",
    "Typed",
    "acceptance_doubts",
    "newest_stored_turn",
    "recall",
    "reduce",
    "remember",
]
