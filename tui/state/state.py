"""The console's whole state, and what each event makes of it.

Promises: pure; the same object comes back when nothing changed. Events of an answer reach the thread that asked,
whichever is on screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tui.state import events as e
from tui.state import thread as t
from tui.state.events import Event, Linked, Notice
from tui.state.inbox import InboxRow
from tui.state.link import WELL, Health, Link
from tui.state.session import Session, recall
from tui.state.thread import Mode, Thread
from tui.state.turn import ConsoleTurn, Labels, Phase

MAX_THREADS = 12
"""Conversations kept open; older idle ones are read from the server again."""


@dataclass(frozen=True)
class State:
    """Everything the screens show."""

    link: Link = Link.LOOKING
    why: str = ""
    """Why the server is gone, in the server's or the system's words."""
    retry: int = 0
    """How many times in a row the server was looked for and not found."""
    bundle: str = ""
    model: str = ""
    health: Health = WELL
    threads: tuple[Thread, ...] = (Thread(1),)
    open: int = 1
    """The key of the thread on screen."""
    asked: int = 0
    """The number of the newest turn of all threads."""
    inbox: tuple[InboxRow, ...] = ()
    ahead: tuple[str, int] = ("", 0)
    """How far the message being typed is read: the server's word, tokens."""
    notice: Notice | None = None
    """What to tell the agent now; gone with the next thing they do."""
    doubts: tuple[tuple[str, str], ...] = ()
    """What the reply about to be sent claims without a source, or quotes from an internal one."""

    @property
    def thread(self) -> Thread:
        """The conversation on screen."""
        return next(thread for thread in self.threads if thread.key == self.open)

    @property
    def turns(self) -> tuple[ConsoleTurn, ...]:
        """Its turns, oldest first."""
        return self.thread.turns

    @property
    def current(self) -> ConsoleTurn | None:
        """Its newest turn."""
        return self.thread.current

    @property
    def conversation(self) -> str | None:
        """Its name on the server."""
        return self.thread.conversation

    @property
    def composer(self) -> str:
        """What is typed."""
        return self.thread.composer

    @property
    def mode(self) -> Mode:
        """Whether that is the customer's message or the reply."""
        return self.thread.mode

    @property
    def busy(self) -> bool:
        """Whether a draft is under way on screen."""
        return self.thread.busy

    @property
    def hindrance(self) -> str:
        """Why a customer's message would not be sent, as the name of a notice; empty = it would."""
        if not self.composer.strip():
            return "empty"
        return "" if self.link is Link.READY else "down"

    def unsaved(self) -> list[tuple[str, ConsoleTurn]]:
        """Verdicts the server does not have yet: (conversation, turn)."""
        return [
            (thread.conversation, turn)
            for thread in self.threads
            for turn in thread.turns
            if not turn.saved and turn.stored and thread.conversation
        ]


def newest_stored_turn(state: State) -> tuple[str, ConsoleTurn] | None:
    """The conversation on screen and its newest message that the server has; None where it has none."""
    turn = next((one for one in reversed(state.turns) if one.stored), None)
    return (state.conversation, turn) if turn is not None and state.conversation else None


def reduce(state: State, event: Event) -> State:
    """The state after the event."""
    match event:
        case e.Typed(text):
            return _typed(state, text)
        case e.Asked(at):
            return _ask(state, at)
        case e.Heard(turn, at, heard):
            return _holder(
                state, turn, lambda thread: t.listen(thread, heard, at) if _is_last(thread, turn) else thread
            )
        case e.Cancelled():
            return _here(state, t.give_back(state.thread, Phase.CANCELLED))
        case e.Editing():
            return _edit(state)
        case e.LeftReply():
            return _here(state, t.leave_reply(state.thread))
        case e.Inserted(text):
            return _here(state, t.begin_reply(state.thread, text))
        case e.Replied(at):
            return _sent(state, t.reply(state.thread, at), "empty")
        case e.Accepted(at):
            draft = state.current.draft.strip() if state.current else ""
            return _sent(state, t.settle(state.thread, "accepted", draft, at), "no_draft")
        case e.Rejected(at, reason, right):
            return _sent(state, t.settle(state.thread, "rejected", right.strip(), at, reason), "no_draft")
        case e.Doubted(reply, items):
            return replace(_here(state, replace(state.thread, doubted=reply)), doubts=items)
        case e.Saved(turn):
            return _turn(state, turn, lambda one: replace(one, saved=True))
        case e.Labelled(turn, intent, emotion):
            return _turn(state, turn, lambda one: replace(one, labels=_relabel(one.labels, intent, emotion)))
        case e.Sourced(turn, citations):
            return _turn(state, turn, lambda one: replace(one, citations=citations))
        case e.HandedOff(turn, reason, how):
            return _turn(state, turn, lambda one: replace(one, handoff=reason or one.handoff, handoff_state=how))
        case e.Remarked(notice):
            return replace(state, notice=notice)
        case e.ReadAhead(said, tokens, conversation):
            return _ahead(state, said, tokens, conversation)
        case e.Listed(rows):
            return state if rows == state.inbox else replace(state, inbox=rows)
        case Linked():
            return _link(state, event)
        case _:
            return _move(state, event)


def _move(state: State, event: Event) -> State:
    """Between conversations."""
    match event:
        case e.NewConversation(practice):
            thread = state.thread
            if not practice and not thread.turns and not thread.conversation:
                return replace(state, notice=None)
            return _open(state, Thread(_next(state), conversation=practice or None, practice=bool(practice)))
        case e.Opened(name):
            known = next((one for one in state.threads if one.conversation == name), None)
            rehearsed = name.startswith("practice-")
            return _open(state, known or Thread(_next(state), name, loading=True, practice=rehearsed))
        case e.Loaded(said):
            found = next((one for one in state.threads if one.conversation == said.conversation), None)
            if found is None:
                return state
            changed = t.load(found, said, state.asked + 1)
            newest = max([state.asked, *(turn.number for turn in changed.turns)])
            return state if changed is found else replace(_put(state, changed), asked=newest)
        case e.Synced(name, text, mode, revision, over):
            found = _older(state, name, revision)
            if found is None or found.composer != over:
                return state
            return _put(state, replace(found, composer=text, mode=Mode(mode), revision=revision))
        case e.Kept(name, revision):
            found = _older(state, name, revision)
            return _put(state, replace(found, revision=revision)) if found else state
        case e.Restored(session):
            return _restore(state, session)
    return state


def _typed(state: State, text: str) -> State:
    if text == state.composer:
        return state
    # A draft that had begun belonged to another text; that the server has read it holds for the most part.
    gone = state.ahead[0] == "drafted" and text.strip() != state.composer.strip()
    changed = replace(state, ahead=("", 0)) if gone else state
    return _here(changed, replace(state.thread, composer=text))


def _ask(state: State, at: float) -> State:
    if state.hindrance:
        return replace(state, notice=Notice(state.hindrance))
    number = state.asked + 1
    changed = _here(state, t.ask(state.thread, number, at))
    return replace(changed, asked=number, ahead=("", 0))


def _edit(state: State) -> State:
    if state.current is None:
        return replace(state, notice=Notice("no_draft"))
    if state.current.verdict and state.mode is Mode.CUSTOMER:
        return replace(state, notice=Notice("sent_already"))
    if state.busy:
        return replace(state, notice=Notice("wait"))
    return _here(state, t.begin_reply(state.thread))


def _sent(state: State, thread: Thread, otherwise: str) -> State:
    """The state after a reply was sent, or with a notice why there was none to send."""
    if thread is state.thread:
        turn = state.current
        name = "retired" if turn and turn.retired and not turn.verdict else otherwise
        return replace(
            state, notice=Notice("wait" if state.busy else "sent_already" if turn and turn.verdict else name)
        )
    return replace(_here(state, thread), doubts=())


def _relabel(labels: Labels, intent: str, emotion: str) -> Labels:
    return Labels(
        intent or labels.intent,
        "" if intent else labels.intent_confidence,
        emotion or labels.emotion,
        "" if emotion else labels.emotion_confidence,
        corrected=True,
    )


def _ahead(state: State, said: str, tokens: int, conversation: str | None) -> State:
    thread = state.thread
    if thread.busy:
        return state  # It is asked by now.
    if conversation and thread.conversation is None:
        state = _put(state, replace(thread, conversation=conversation))
    return state if state.ahead == (said, tokens) else replace(state, ahead=(said, tokens))


def _older(state: State, name: str, revision: int) -> Thread | None:
    """The conversation, where its unsent text is older than that revision."""
    return next((one for one in state.threads if one.conversation == name and one.revision < revision), None)


def _restore(state: State, session: Session) -> State:
    """The threads of the console's last session; what the server has of them comes by `Loaded`."""
    threads = recall(session, state.asked + 1)[:MAX_THREADS]
    if not threads:
        return state
    opened = session.open if session.open in {thread.key for thread in threads} else threads[-1].key
    asked = max([state.asked, *(turn.number for thread in threads for turn in thread.turns)])
    return replace(state, threads=threads, open=opened, asked=asked)


def _link(state: State, event: Linked) -> State:
    retry = {Link.GONE: state.retry + 1, Link.READY: 0}.get(event.link, state.retry)
    changed = replace(
        state,
        link=event.link,
        why=event.why,
        retry=retry,
        bundle=event.bundle or state.bundle,
        model=event.model or state.model,
        health=event.health,
    )
    return state if changed == state else changed


def _next(state: State) -> int:
    return max(thread.key for thread in state.threads) + 1


def _open(state: State, thread: Thread) -> State:
    """Bring a thread on screen; the oldest idle one goes when there are too many."""
    kept = [one for one in state.threads if one.key != thread.key]
    while len(kept) >= MAX_THREADS:
        idle = [one for one in kept if not one.busy and not one.composer.strip() and not one.stash.strip()]
        kept.remove(idle[0] if idle else kept[0])
    return replace(state, threads=(*kept, thread), open=thread.key, notice=None, doubts=(), ahead=("", 0))


def _put(state: State, thread: Thread) -> State:
    return replace(state, threads=tuple(thread if one.key == thread.key else one for one in state.threads))


def _here(state: State, thread: Thread) -> State:
    """What the agent did in the conversation on screen; a remark about something before it goes."""
    if thread is state.thread:
        return state
    doubts = state.doubts if thread.doubted and thread.doubted == thread.composer.strip() else ()
    return replace(_put(state, thread), notice=None, doubts=doubts)


def _is_last(thread: Thread, number: int) -> bool:
    return thread.current is not None and thread.current.number == number


def _holder(state: State, number: int, change: Callable[[Thread], Thread]) -> State:
    """Change the thread a turn is in; a remark stays."""
    for thread in state.threads:
        if any(turn.number == number for turn in thread.turns):
            changed = change(thread)
            return state if changed is thread else _put(state, changed)
    return state


def _turn(state: State, number: int, change: Callable[[ConsoleTurn], ConsoleTurn]) -> State:
    def within(thread: Thread) -> Thread:
        return replace(thread, turns=tuple(change(one) if one.number == number else one for one in thread.turns))

    return _holder(state, number, within)
