"""One turn on screen: the question, the draft as it grows, its sources, and what to watch out for.

Promises: all text of strangers goes through `inert` and is never read as markup; a turn that has not changed is not
painted again. Knows nothing of sockets and of the other turns.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from tui.state import Phase, Turn
from tui.text import inert, one_line
from tui.widgets.citations import CitationList
from tui.widgets.line import Line
from tui.widgets.status import progress
from tui.words import Words


class TurnView(Vertical):
    """A question with its draft."""

    def __init__(self, number: int) -> None:
        super().__init__(id=f"turn-{number}")
        self.number = number
        self._shown: tuple[Turn, str] | None = None

    def compose(self) -> ComposeResult:
        """The parts, all empty at first."""
        yield Line(classes="label question-label")
        yield Line(classes="question")
        yield Line(classes="label draft-label")
        yield Line(classes="draft")
        yield Line(classes="warning")
        yield CitationList()

    async def show(self, turn: Turn, words: Words) -> None:
        """Show the turn as it is now."""
        if self._shown is not None and self._shown[0] is turn and self._shown[1] == words.lang:
            return
        self._shown = (turn, words.lang)
        self._put("question-label", words("turn.question"))
        self._put("question", inert(turn.question))
        self._put("draft-label", draft_label(turn, words))
        empty = words("turn.nothing") if turn.phase is Phase.DONE else ""
        self._put("draft", inert(turn.draft).strip() or empty)
        self._put("warning", "\n".join(warnings(turn, words)))
        await self.query_one(CitationList).show(turn.citations, words)

    def _put(self, name: str, text: str) -> None:
        self.query_one(f".{name}", Line).put(text)


def draft_label(turn: Turn, words: Words) -> str:
    """`Draft`, and where the turn is once it is over."""
    if turn.busy:
        return words("turn.draft")
    if turn.phase is Phase.DONE:
        return " · ".join([words("turn.draft"), *progress(turn, words, 0.0)[1:]])
    return f"{words('turn.draft')} · {words('phase.' + turn.phase.value + '_short')}"


def warnings(turn: Turn, words: Words) -> list[str]:
    """What the agent must know before using the draft."""
    out = []
    if turn.handoff:
        known = words.get(f"handoff.{turn.handoff}")
        out.append(words("turn.handoff", why=known or one_line(turn.handoff)))
    if turn.unsupported:
        out.append(words("turn.unsupported", items=", ".join(one_line(item) for item in turn.unsupported)))
    return out
