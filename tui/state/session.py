"""What a console remembers across its own end, as typed values: `tui.services.session_file` stores them.

    remember(state) -> Session          what is worth keeping
    recall(session, first) -> threads   the threads again, numbered from `first` on

Promises: pure; `recall(remember(state))` has every unsent text and every verdict that the server has not confirmed.
Turns themselves are the server's to keep. Knows nothing of files.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tui.state.thread import Mode, Thread
from tui.state.turn import ConsoleTurn, Phase


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class KeptTurn(_Kept):
    """A turn whose reply is still being written, or whose verdict the server has not confirmed."""

    question: str
    stored: int
    lang: str = ""
    draft: str = ""
    edited: str = ""
    handoff: str = ""
    verdict: str = ""
    reply: str = ""
    reason: str = ""
    retired: str = ""
    decided_s: float | None = None
    saved: bool = True


class KeptThread(_Kept):
    """A conversation that was open."""

    key: int
    conversation: str | None = None
    composer: str = ""
    mode: Mode = Mode.CUSTOMER
    stash: str = ""
    turns: tuple[KeptTurn, ...] = ()


class Session(_Kept):
    """Everything a console remembers."""

    open: int = 0
    """The key of the thread that was on screen."""
    threads: tuple[KeptThread, ...] = ()


def remember(threads: tuple[Thread, ...], opened: int) -> Session:
    """What is worth keeping of these threads; `opened` is the key of the one on screen."""
    kept = tuple(_keep_thread(thread) for thread in threads if _is_worth_keeping(thread, opened))
    return Session(open=opened, threads=kept)


def recall(session: Session, first: int) -> tuple[Thread, ...]:
    """The threads of a session; their turns are numbered from `first` on."""
    made = []
    for kept in session.threads:
        turns = []
        for turn in kept.turns:
            turns.append(ConsoleTurn(number=first, asked_at=0.0, phase=Phase.DONE, **turn.model_dump()))
            first += 1
        name = kept.conversation
        made.append(
            Thread(
                key=kept.key,
                conversation=name,
                turns=tuple(turns),
                composer=kept.composer,
                mode=kept.mode,
                stash=kept.stash,
                loading=bool(name) and not turns,
                practice=(name or "").startswith("practice-"),
            )
        )
    return tuple(made)


def _is_worth_keeping(thread: Thread, opened: int) -> bool:
    typed = bool(thread.composer.strip() or thread.stash.strip())
    return thread.key == opened or typed or any(map(_is_pending, thread.turns))


def _is_pending(turn: ConsoleTurn) -> bool:
    return bool(turn.stored and (turn.edited.strip() or not turn.saved))


def _keep_thread(thread: Thread) -> KeptThread:
    texts = {"composer": thread.composer, "stash": thread.stash}
    if thread.busy and (turn := thread.current) is not None and not turn.stored:
        # The server may never have received the message: it comes back as text that is typed again.
        place = "composer" if thread.mode is Mode.CUSTOMER else "stash"
        texts[place] = "\n".join(part for part in (turn.question, texts[place]) if part.strip())
    turns = tuple(_keep_turn(turn) for turn in thread.turns if _is_pending(turn))
    return KeptThread(key=thread.key, conversation=thread.conversation, mode=thread.mode, turns=turns, **texts)


def _keep_turn(turn: ConsoleTurn) -> KeptTurn:
    return KeptTurn(**{name: getattr(turn, name) for name in KeptTurn.model_fields})
