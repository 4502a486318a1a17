"""What is shown of a turn: the message, the draft as it grows, its sources, what to watch out for, the reply.

Promises: pure; all text of strangers goes through `inert` and is never read as markup. What the assist pane
shows already is left out. Knows nothing of lines, colours and the other turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from textual.content import Content

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, one_line
from tui.state import ConsoleTurn, Phase
from tui.widgets.assist import citation_label, label_chips, turn_warnings

KINDS: Final = ("label", "question", "chips", "draft", "old", "warning", "source", "reply")
OLD_LINES: Final = 3
"""So much is left of a draft that was edited, rejected or retired."""


class Part(NamedTuple):
    """A piece of a turn that looks alike."""

    kind: str
    """One of `KINDS`; how it looks is the class `turn--<kind>` in console.tcss."""
    text: Content
    source: int = 0
    """The number of the source that a click on it opens."""
    gap: bool = True
    """Whether an empty line follows."""


def turn_parts(turn: ConsoleTurn, words: Catalogue, *, assisted: bool) -> tuple[Part, ...]:
    """The turn from top to bottom. `assisted` = the assist pane shows labels, warnings and sources."""
    return tuple(part for part in _parts(turn, words, assisted) if part.text)


def _parts(turn: ConsoleTurn, words: Catalogue, assisted: bool) -> Iterator[Part]:
    yield Part("label", Content(words("turn.customer")), gap=False)
    yield Part("question", Content(inert(turn.question)))
    if not assisted:
        yield Part("chips", label_chips(turn.labels, words))
    settled = bool(turn.verdict or turn.retired)
    if turn.verdict != "accepted":
        empty = words("turn.nothing") if turn.phase is Phase.DONE else ""
        draft = Content(inert(turn.draft).strip() or empty)
        yield Part("label", Content(draft_label(turn, words)), gap=not draft)
        yield Part("old" if settled else "draft", draft)
    if not assisted:
        yield Part("warning", Content("\n".join(turn_warnings(turn, words))))
        if turn.citations and not settled:
            yield Part("label", Content(words("turn.sources")), gap=False)
            for number, one in enumerate(turn.citations, start=1):
                last = number == len(turn.citations)
                yield Part("source", citation_label(one, number, words), source=number, gap=last)
    yield Part("label", Content(reply_label(turn, words)), gap=False)
    yield Part("reply", Content(inert(turn.reply).strip()))


def draft_label(turn: ConsoleTurn, words: Catalogue) -> str:
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
        return f"{name} · {words('turn.unsent')}"
    return f"{name} · {words('phase.' + turn.phase.value + '_short')}"


def reply_label(turn: ConsoleTurn, words: Catalogue) -> str:
    """What the agent made of it; empty while nothing was decided."""
    if not turn.verdict or not turn.reply:
        return ""
    name = words("turn.right" if turn.verdict == "rejected" else "turn.reply")
    note = words("verdict.accepted") if turn.verdict == "accepted" else ""
    unsaved = "" if turn.saved else words("turn.unsaved")
    return " · ".join(part for part in (name, note, unsaved) if part)
