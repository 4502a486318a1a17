"""What the console knows, as one value, and how each event changes it: `reduce(state, event) -> state`.

Promises: pure; the clock comes in with the events (`at`, seconds of a monotonic clock). An event of a question that is
no longer the current one changes nothing, so a late token cannot reach the wrong draft. The agent's words are never
lost: a question that is cancelled or fails comes back into the composer, above whatever was typed meanwhile.
The server's events are those of
`runtime.events`. Knows nothing of Textual, sockets, files and languages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from runtime import events
from runtime.events import Citation

MAX_TURNS = 200
"""Turns kept on screen; older ones are in the journal."""


class Phase(StrEnum):
    """Where a turn is."""

    SENDING = "sending"
    QUEUED = "queued"
    READING = "reading"
    WRITING = "writing"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Link(StrEnum):
    """Where the server is, as far as the console knows."""

    LOOKING = "looking"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    GONE = "gone"


@dataclass(frozen=True)
class Turn:
    """One question and its draft."""

    number: int
    question: str
    asked_at: float
    phase: Phase = Phase.SENDING
    position: int = 0
    """Questions before this one in the queue."""
    draft: str = ""
    citations: tuple[Citation, ...] = ()
    tokens: int = 0
    first_at: float | None = None
    last_at: float | None = None
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    model: str = ""
    handoff: str = ""
    """Why a person must answer; empty = no hand-off."""
    unsupported: tuple[str, ...] = ()
    """Numbers of the draft that neither a section nor the question holds."""
    problem: str = ""
    hint: str = ""

    @property
    def busy(self) -> bool:
        """Whether the server still works on it."""
        return self.phase in (Phase.SENDING, Phase.QUEUED, Phase.READING, Phase.WRITING)

    @property
    def wait_s(self) -> float | None:
        """Seconds to the first token: the server's figure once it is known, before that the console's own."""
        if self.ttft_s is not None:
            return self.ttft_s
        return None if self.first_at is None else self.first_at - self.asked_at

    @property
    def speed(self) -> float | None:
        """Tokens a second: the server's figure once it is known, before that the console's own.

        None where nothing was measured, as when no model wrote.
        """
        if self.tokens_per_s is not None:
            return self.tokens_per_s or None
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at:
            return None
        return (self.tokens - 1) / (self.last_at - self.first_at)


@dataclass(frozen=True)
class Notice:
    """A remark, by its name in the catalogue (`notice.<name>`)."""

    name: str
    number: int = 0


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
    conversation: str | None = None
    turns: tuple[Turn, ...] = ()
    asked: int = 0
    """How many questions were asked; the number of the newest turn."""
    composer: str = ""
    notice: Notice | None = None
    """What to tell the agent now; gone with the next thing they do."""

    @property
    def current(self) -> Turn | None:
        """The newest turn."""
        return self.turns[-1] if self.turns else None

    @property
    def busy(self) -> bool:
        """Whether a draft is under way."""
        return self.current is not None and self.current.busy

    @property
    def hindrance(self) -> str:
        """Why Enter would not send what is typed, as the name of a notice; empty = it would."""
        if self.busy:
            return "wait"
        if not self.composer.strip():
            return "empty"
        return "" if self.link is Link.READY else "down"


@dataclass(frozen=True)
class Typed:
    """The composer's text changed."""

    text: str


@dataclass(frozen=True)
class Asked:
    """The agent sent what is in the composer. The console reports what was typed before any other event."""

    at: float


@dataclass(frozen=True)
class Cancelled:
    """The agent stopped the draft."""


@dataclass(frozen=True)
class NewConversation:
    """The agent begins with another customer."""


@dataclass(frozen=True)
class Remarked:
    """Something the agent wanted cannot be had."""

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


Event = Typed | Asked | Cancelled | NewConversation | Remarked | Heard | Linked


def reduce(state: State, event: Event) -> State:
    """The state after the event; the same object when nothing changed."""
    match event:
        case Typed(text):
            return state if text == state.composer else replace(state, composer=text, notice=None)
        case Asked(at):
            return _ask(state, at)
        case Cancelled():
            return _give_back(state, Phase.CANCELLED)
        case NewConversation():
            if state.busy:
                return replace(state, notice=Notice("wait"))
            return replace(state, conversation=None, turns=(), notice=None)
        case Remarked(notice):
            return replace(state, notice=notice)
        case Linked():
            return _link(state, event)
        case Heard():
            return _hear(state, event)


def _hear(state: State, heard: Heard) -> State:
    turn = state.current
    if turn is None or not turn.busy or heard.turn != turn.number:
        return state
    event = heard.event
    match event:
        case events.Stored():
            return replace(state, conversation=event.conversation)
        case events.Understood():
            return state
        case events.Queued():
            return _turn(state, replace(turn, phase=Phase.QUEUED, position=event.position))
        case events.Found():
            return _turn(state, replace(turn, phase=Phase.READING, citations=event.citations))
        case events.Reading():
            return _turn(state, replace(turn, phase=Phase.READING))
        case events.Token():
            return _turn(state, _write(turn, event.text, heard.at))
        case events.Done():
            return _turn(state, _finish(turn, event))
        case events.Failed():
            return _give_back(state, Phase.FAILED, event.what, event.hint)


def _ask(state: State, at: float) -> State:
    if state.hindrance:
        return replace(state, notice=Notice(state.hindrance))
    number = state.asked + 1
    turn = Turn(number, state.composer.strip(), at)
    return replace(state, turns=(*state.turns, turn)[-MAX_TURNS:], asked=number, composer="", notice=None)


def _give_back(state: State, phase: Phase, problem: str = "", hint: str = "") -> State:
    turn = state.current
    if turn is None or not turn.busy:
        return state
    text = f"{turn.question}\n{state.composer}" if state.composer.strip() else turn.question
    return _turn(replace(state, composer=text, notice=None), replace(turn, phase=phase, problem=problem, hint=hint))


def _link(state: State, event: Linked) -> State:
    retry = {Link.GONE: state.retry + 1, Link.READY: 0}.get(event.link, state.retry)
    changed = replace(
        state,
        link=event.link,
        why=event.why,
        retry=retry,
        bundle=event.bundle or state.bundle,
        model=event.model or state.model,
    )
    return state if changed == state else changed


def _write(turn: Turn, text: str, at: float) -> Turn:
    first = at if turn.first_at is None else turn.first_at
    draft = turn.draft + text
    return replace(turn, phase=Phase.WRITING, draft=draft, tokens=turn.tokens + 1, first_at=first, last_at=at)


def _finish(turn: Turn, event: events.Done) -> Turn:
    return replace(
        turn,
        phase=Phase.DONE,
        draft=event.answer,
        citations=event.citations or turn.citations,
        ttft_s=event.ttft_s,
        tokens_per_s=event.tokens_per_s,
        model=event.model,
        handoff=event.handoff or "",
        unsupported=event.unsupported,
    )


def _turn(state: State, turn: Turn) -> State:
    return replace(state, turns=(*state.turns[:-1], turn))
