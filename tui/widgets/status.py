"""Two lines of words: how the server is, above; the progress of the newest turn, or a remark, below.

Promises: each state is shown in words, never by colour alone. Knows nothing of events and sockets.
"""

from __future__ import annotations

from tui.base.i18n import Catalogue
from tui.base.inert_text import one_line
from tui.state import ConsoleTurn, Health, Link, Mode, Phase, State
from tui.widgets.label import InertLabel


class LinkLine(InertLabel):
    """The server, the bundle, the model, and what is out of order in the branch."""

    def show(self, state: State, words: Catalogue) -> None:
        """Show the state of the link."""
        why = one_line(state.why)
        parts = [words("app.name"), words(f"link.{state.link.value}", why=why, retry=state.retry)]
        wrong = health_words(state.health, words) if state.link is Link.READY else []
        if state.link is Link.READY and not wrong:
            if state.health.waiting:
                parts.append(words("health.waiting", count=state.health.waiting))
            parts += [words("link.bundle", bundle=one_line(state.bundle)), one_line(state.model)]
        if state.thread.practice:
            parts.insert(1, words("practice.mark"))
        self.set_class(state.link is not Link.READY or bool(wrong), "waiting")
        self.put(" · ".join(part for part in [*parts, *wrong] if part))


def health_words(health: Health, words: Catalogue) -> list[str]:
    """What is out of order, and what still works."""
    values = {"free": health.disk_low_mb or 0, "bundle": one_line(health.newer)}
    return [words(f"health.{name}", **values) for name in health.troubles()]


class StatusLine(InertLabel):
    """The newest turn's progress: queue, reading, writing, first word, speed; or what is read ahead."""

    def show(self, state: State, words: Catalogue, now: float) -> None:
        """Show what happens at monotonic time `now`."""
        turn = state.current
        if state.notice is not None:
            notice = state.notice
            text = words(f"notice.{notice.name}", number=notice.number, text=one_line(notice.text))
        elif state.mode is Mode.REPLY:
            text = words("phase.reply")
        elif _is_read_ahead(state):
            text = words(f"ahead.{state.ahead[0] if state.ahead[1] else 'begun'}", tokens=state.ahead[1])
        else:
            text = words("phase.idle") if turn is None else " · ".join(progress_words(turn, words, now))
        self.set_class(state.notice is not None, "notice")
        self.put(text)


def _is_read_ahead(state: State) -> bool:
    over = state.current is None or state.current.phase is Phase.DONE  # else the line shows how the draft ended
    return over and bool(state.composer.strip()) and state.ahead[0] in ("reading", "ready", "drafted")


def progress_words(turn: ConsoleTurn, words: Catalogue, now: float) -> list[str]:
    """What is known about a turn, in words, in the order it happens."""
    out = [_phase(turn, words)]
    if turn.phase is Phase.QUEUED and turn.predicted_s:
        out.append(words("figure.predicted", seconds=turn.predicted_s))
    if turn.busy and turn.first_at is None and not turn.asked:
        out.append(words("figure.elapsed", seconds=max(0.0, now - turn.asked_at)))
    if turn.wait_s is not None and turn.draft:
        out.append(words("figure.first", seconds=turn.wait_s))
    if turn.speed is not None:
        out.append(words("figure.speed", speed=turn.speed))
    return out


def _phase(turn: ConsoleTurn, words: Catalogue) -> str:
    match turn.phase:
        case Phase.QUEUED:
            return words("phase.queued", count=turn.position) if turn.position else words("phase.queued_next")
        case Phase.READING:
            if turn.read[1]:
                return words("phase.reading_tokens", done=turn.read[0], total=turn.read[1])
            return words("phase.reading", count=len(turn.citations))
        case Phase.FAILED:
            return words("phase.failed", why=one_line(" ".join(filter(None, (turn.problem, turn.hint)))))
        case Phase.DONE if turn.verdict:
            return words(f"verdict.{turn.verdict}")
        case Phase.DONE if turn.retired:
            return words(f"retired.{turn.retired}")
    if turn.retired:
        return words(f"retired.{turn.retired}")
    return words(f"phase.{turn.phase.value}")
