"""One conversation as the console holds it: its turns, what is typed, and whether that is a message or a reply.

Promises: pure. The agent's words are never lost: a message that is cancelled or fails comes back above whatever was
typed meanwhile, a reply that is left is kept with its turn. A newer message retires the draft before it, a sent reply
its own; an event of a turn that is no longer awaited changes nothing, so a late token cannot reach the wrong draft.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from runtime import events
from runtime.client.answers import Conversation, ConversationState
from tui.base.inert_text import inert
from tui.state.turn import ConsoleTurn, Phase, decide, hear, retire, stored_turn

MAX_TURNS = 60
"""Turns kept on screen; older ones are in the journal."""


class Mode(StrEnum):
    """What the composer holds."""

    CUSTOMER = "customer"
    """What the customer says; sending it asks for a draft."""
    REPLY = "reply"
    """What the agent answers; sending it ends the draft."""


@dataclass(frozen=True)
class Meta:
    """What is kept of a conversation besides its turns."""

    status: str = "open"
    snooze_until: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    satisfaction: int | None = None


@dataclass(frozen=True)
class Thread:
    """A conversation that is open in the console."""

    key: int
    """Counted through the console's life; the server's name comes with the first message."""
    conversation: str | None = None
    turns: tuple[ConsoleTurn, ...] = ()
    composer: str = ""
    mode: Mode = Mode.CUSTOMER
    stash: str = ""
    """The customer's message as far as it was typed when the reply was begun."""
    revision: int = 0
    """Of the unsent text, as the server counts it."""
    loading: bool = False
    meta: Meta = Meta()
    practice: bool = False
    doubted: str = ""
    """The reply that was doubted; sent again it goes."""

    @property
    def current(self) -> ConsoleTurn | None:
        """The newest turn."""
        return self.turns[-1] if self.turns else None

    @property
    def busy(self) -> bool:
        """Whether a draft is under way."""
        return self.current is not None and self.current.busy

    def with_current(self, turn: ConsoleTurn) -> Thread:
        """The newest turn replaced."""
        return replace(self, turns=(*self.turns[:-1], turn))


def ask(thread: Thread, number: int, at: float) -> Thread:
    """What is typed becomes the customer's message; the draft before it is retired."""
    before = tuple(retire(turn, "newer") for turn in thread.turns)
    turn = ConsoleTurn(number, thread.composer.strip(), at)
    return replace(thread, turns=(*before, turn)[-MAX_TURNS:], composer="", doubted="")


def listen(thread: Thread, event: events.Event, at: float) -> Thread:
    """An event of the newest turn's answer."""
    turn = thread.current
    if turn is None or not turn.busy:
        return thread
    if isinstance(event, events.Failed):
        return give_back(thread, Phase.FAILED, event.what, event.hint)
    if isinstance(event, events.Stored):
        thread = replace(thread, conversation=event.conversation)
    return thread.with_current(hear(turn, event, at))


def give_back(thread: Thread, phase: Phase, problem: str = "", hint: str = "") -> Thread:
    """The draft ends; its message comes back to where messages are typed."""
    turn = thread.current
    if turn is None or not turn.busy:
        return thread
    typed = thread.composer if thread.mode is Mode.CUSTOMER else thread.stash
    text = f"{turn.question}\n{typed}" if typed.strip() else turn.question
    place = {"composer": text} if thread.mode is Mode.CUSTOMER else {"stash": text}
    ended = replace(turn, phase=phase, problem=problem, hint=hint)
    return replace(thread, **place).with_current(ended)  # type: ignore[arg-type]


def begin_reply(thread: Thread, text: str | None = None) -> Thread:
    """Write the reply: what was written of it before, else the draft; `text` is appended to it."""
    turn = thread.current
    if thread.mode is Mode.CUSTOMER:
        begun = "" if turn is None or turn.verdict else turn.edited or (turn.draft.strip() if not turn.retired else "")
        if text is not None and not (turn and turn.edited):
            begun = ""
        thread = replace(thread, mode=Mode.REPLY, stash=thread.composer, composer=begun, doubted="")
    if text is None:
        return thread
    glue = "\n" if thread.composer.strip() else ""
    return replace(thread, composer=thread.composer.rstrip() + glue + text)


def leave_reply(thread: Thread) -> Thread:
    """Back to the customer's next message."""
    if thread.mode is Mode.CUSTOMER:
        return thread
    turn = thread.current
    if turn is not None:
        thread = thread.with_current(replace(turn, edited=thread.composer))
    return replace(thread, mode=Mode.CUSTOMER, composer=thread.stash, stash="", doubted="")


def reply(thread: Thread, at: float) -> Thread:
    """What is typed goes to the customer."""
    turn = thread.current
    text = thread.composer.strip()
    if turn is None or not text:
        return thread
    draft = inert(turn.draft).strip()  # as the field shows it
    usable = turn.phase is Phase.DONE and draft
    verdict = ("accepted" if text == draft else "edited") if usable else "replied"
    ended = decide(retire(turn, "sent"), verdict, text, at)
    return replace(thread.with_current(ended), mode=Mode.CUSTOMER, composer=thread.stash, stash="", doubted="")


def settle(thread: Thread, verdict: str, text: str, at: float, reason: str = "") -> Thread:
    """Accept or reject the draft on offer."""
    turn = thread.current
    if turn is None or not turn.offered:
        return thread
    ended = thread.with_current(decide(turn, verdict, text, at, reason))
    if thread.mode is Mode.REPLY:
        return replace(ended, mode=Mode.CUSTOMER, composer=thread.stash, stash="", doubted="")
    return replace(ended, doubted="")


def load(thread: Thread, said: Conversation, first: int) -> Thread:
    """The conversation as the server has it, put together with what this console is doing in it.

    Turns it did not know get numbers from `first` on. A verdict given elsewhere retires the draft here.
    """
    known = {turn.stored: turn for turn in thread.turns if turn.stored}
    merged: list[ConsoleTurn] = []
    for row in said.turns:
        theirs = stored_turn(first, row)
        if (mine := known.pop(theirs.stored, None)) is None:
            merged.append(theirs)
            first += 1
        else:
            merged.append(_merge(mine, theirs))
    unsent = [turn for turn in thread.turns if not turn.stored or turn.stored in known]
    newest = [*merged, *unsent][-MAX_TURNS:]
    turns = tuple(retire(turn, "newer") if not _streams(turn) else turn for turn in newest[:-1]) + tuple(newest[-1:])
    changed = replace(thread, turns=turns, loading=False, meta=read_meta(said))
    return thread if changed == thread else changed


def _streams(turn: ConsoleTurn) -> bool:
    return turn.busy and not turn.asked


def _merge(mine: ConsoleTurn, theirs: ConsoleTurn) -> ConsoleTurn:
    """What is streamed here is newer than the journal; what was decided elsewhere is newer than what is shown here."""
    if _streams(mine):
        return mine
    if mine.asked and not mine.verdict:
        # Seen in the journal only: it may still be written there.
        # The words of the sources were fetched already.
        cited = mine.citations if _names(mine) == _names(theirs) else theirs.citations
        kept = replace(
            theirs, number=mine.number, citations=cited, edited=mine.edited, retired=theirs.retired or mine.retired
        )
        return mine if kept == mine else kept
    if mine.saved and (theirs.verdict, theirs.reply) != (mine.verdict, mine.reply) and theirs.verdict:
        return replace(
            mine, verdict=theirs.verdict, reply=theirs.reply, reason=theirs.reason, retired=mine.retired or "elsewhere"
        )
    return mine


def _names(turn: ConsoleTurn) -> list[tuple[str, str]]:
    return [(one.article, one.section) for one in turn.citations]


def read_meta(said: ConversationState) -> Meta:
    """Notes, tags and status out of the server's answer."""
    return Meta(said.status, said.snooze_until or "", said.tags, said.notes, said.satisfaction)
