"""One turn on screen: the customer's message, the draft as it grows, its sources, what to watch out for, the reply.

Promises: all text of strangers goes through `inert` and is never read as markup; a turn that has not changed is not
painted again. Knows nothing of sockets and of the other turns.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from tui.state import Phase, Turn
from tui.text import inert, one_line
from tui.widgets.assist import chips, warnings
from tui.widgets.citations import CitationList
from tui.widgets.line import Line
from tui.widgets.status import progress
from tui.words import Words


class TurnView(Vertical):
    """A message with its draft and reply."""

    def __init__(self, number: int) -> None:
        super().__init__(id=f"turn-{number}")
        self.number = number
        self._shown: tuple[Turn, str] | None = None

    def compose(self) -> ComposeResult:
        """The parts, all empty at first."""
        yield Line(classes="label question-label")
        yield Line(classes="question")
        with Vertical(classes="chips-box"):
            yield Line(classes="chips")
        yield Line(classes="label draft-label")
        yield Line(classes="draft")
        yield Line(classes="warning")
        yield CitationList()
        yield Line(classes="label reply-label")
        yield Line(classes="reply")

    async def show(self, turn: Turn, words: Words) -> None:
        """Show the turn as it is now."""
        if self._shown is not None and self._shown[0] is turn and self._shown[1] == words.lang:
            return
        self._shown = (turn, words.lang)
        self._put("question-label", words("turn.customer"))
        self._put("question", inert(turn.question))
        self._put("chips", chips(turn.labels, words))
        same = turn.verdict == "accepted"
        self._put("draft-label", "" if same else draft_label(turn, words))
        empty = words("turn.nothing") if turn.phase is Phase.DONE else ""
        self._put("draft", "" if same else inert(turn.draft).strip() or empty)
        self.query_one(".draft").set_class(bool(turn.verdict or turn.retired), "old")
        self._put("warning", "\n".join(warnings(turn, words)))
        self._put("reply-label", reply_label(turn, words))
        self._put("reply", inert(turn.reply).strip())
        self.set_class(bool(turn.verdict or turn.retired), "settled")
        await self.query_one(CitationList).show(turn.citations, words)

    def _put(self, name: str, text: str | Content) -> None:
        self.query_one(f".{name}", Line).put(text)


def draft_label(turn: Turn, words: Words) -> str:
    """`Draft`, and where the turn is once it is over."""
    name = words("turn.draft")
    if turn.busy:
        return name
    if turn.verdict in ("edited", "rejected"):
        reason = (words.get(f"reason.{turn.reason}") or one_line(turn.reason)) if turn.reason else ""
        return " · ".join(part for part in (name, words(f"verdict.{turn.verdict}"), reason) if part)
    if turn.retired in ("newer", "elsewhere"):
        return f"{name} · {words('retired.' + turn.retired)}"
    if turn.phase is Phase.DONE:
        return " · ".join([name, words("turn.unsent"), *progress(turn, words, 0.0)[1:]])
    return f"{name} · {words('phase.' + turn.phase.value + '_short')}"


def reply_label(turn: Turn, words: Words) -> str:
    """What the agent made of it; empty while nothing was decided."""
    if not turn.verdict or not turn.reply:
        return ""
    name = words("turn.right" if turn.verdict == "rejected" else "turn.reply")
    note = words("verdict.accepted") if turn.verdict == "accepted" else ""
    unsaved = "" if turn.saved else words("turn.unsaved")
    return " · ".join(part for part in (name, note, unsaved) if part)
