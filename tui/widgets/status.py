"""Two lines of words: how the server is, above; where the time goes, or why a wish was not granted, below.

Promises: each state is said in words, never by colour alone. Knows nothing of events and sockets.
"""

from __future__ import annotations

from tui.state import Link, Phase, State, Turn
from tui.text import one_line
from tui.widgets.line import Line
from tui.words import Words


class LinkLine(Line):
    """The server, the bundle and the model."""

    def show(self, state: State, words: Words) -> None:
        """Show the state of the link."""
        why = one_line(state.why)
        parts = [words("app.name"), words(f"link.{state.link.value}", why=why, retry=state.retry)]
        if state.link is Link.READY:
            parts += [words("link.bundle", bundle=one_line(state.bundle)), one_line(state.model)]
        self.set_class(state.link is not Link.READY, "waiting")
        self.put(" · ".join(part for part in parts if part))


class StatusLine(Line):
    """The newest turn's progress: queue, reading, writing, first word, speed."""

    def show(self, state: State, words: Words, now: float) -> None:
        """Show what happens at monotonic time `now`."""
        turn = state.current
        if state.notice is not None:
            text = words(f"notice.{state.notice.name}", number=state.notice.number)
        else:
            text = words("phase.idle") if turn is None else " · ".join(progress(turn, words, now))
        self.set_class(state.notice is not None, "notice")
        self.put(text)


def progress(turn: Turn, words: Words, now: float) -> list[str]:
    """What is known about a turn, in words, in the order it happens."""
    out = [_phase(turn, words)]
    if turn.busy and turn.first_at is None:
        out.append(words("figure.elapsed", seconds=max(0.0, now - turn.asked_at)))
    if turn.wait_s is not None and turn.draft:
        out.append(words("figure.first", seconds=turn.wait_s))
    if turn.speed is not None:
        out.append(words("figure.speed", speed=turn.speed))
    return out


def _phase(turn: Turn, words: Words) -> str:
    match turn.phase:
        case Phase.QUEUED:
            return words("phase.queued", count=turn.position) if turn.position else words("phase.queued_next")
        case Phase.READING:
            return words("phase.reading", count=len(turn.citations))
        case Phase.FAILED:
            return words("phase.failed", why=one_line(" ".join(filter(None, (turn.problem, turn.hint)))))
    return words(f"phase.{turn.phase.value}")
