"""A turn laid out in rows of a width, of which those that did not change stay the same objects.

Promises: pure; a row that is the same object looks the same, so that what was painted of it can be kept; the rows of a
draft that grew are new only at its end. Knows nothing of colours and of where on the screen the rows are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual.content import Content
from textual.strip import Strip

from tui.base.i18n import Catalogue
from tui.base.wrapping import WrappedText, wrap_text
from tui.state import ConsoleTurn
from tui.widgets.turn_blocks import OLD_LINES, Part, turn_parts

INDENT: Final = {"label": 0}
"""Cells between the margin and the text of a part; two for a kind that is not listed."""
MARGIN: Final = 1
"""Empty cells on the left; on the right there is the scroll bar's place."""
WIDEST: Final = 100
"""Cells of text in a row; longer lines are hard to read."""


class TranscriptRow:
    """One line on screen. `x`, `y` say where in the turn's text it begins: letters, lines."""

    __slots__ = ("content", "kind", "painted", "source", "x", "y")

    def __init__(self, part: Part, content: Content, x: int, y: int) -> None:
        self.kind = part.kind
        self.source = part.source
        self.content = content
        self.x = x
        self.y = y
        self.painted: tuple[int, Strip] | None = None
        """As it was painted last, and at which line of the whole text."""


@dataclass(frozen=True)
class LaidPart:
    """A part with its rows; `line` is its first in the turn's text."""

    part: Part
    line: int
    broken: WrappedText
    rows: tuple[TranscriptRow, ...]


@dataclass(frozen=True)
class LaidTurn:
    """A turn with all its rows, an empty one after each part that wants it."""

    turn: ConsoleTurn
    lang: str
    width: int
    assisted: bool
    parts: tuple[LaidPart, ...]
    rows: tuple[TranscriptRow, ...]
    lines: tuple[str, ...]
    """The turn's text: what is copied when it is selected."""


def indent_cells(kind: str) -> int:
    """Cells before the text of a part, after the margin."""
    return INDENT.get(kind, 2)


def lay_out_turn(
    turn: ConsoleTurn, words: Catalogue, width: int, *, assisted: bool, before: LaidTurn | None = None
) -> LaidTurn:
    """The turn in rows of a screen `width` cells wide; `before` is the same turn as it was laid out last."""
    if before is not None:
        same = (before.lang, before.width, before.assisted) == (words.lang, width, assisted)
        if before.turn is turn and same:
            return before
        if before.width != width:
            before = None
    laid: list[LaidPart] = []
    rows: list[TranscriptRow] = []
    lines: list[str] = []
    for place, part in enumerate(turn_parts(turn, words, assisted=assisted)):
        old = before.parts[place] if before is not None and place < len(before.parts) else None
        one = _lay_part(part, len(lines), width, old)
        laid.append(one)
        rows += one.rows
        lines += one.broken.paragraphs
        if part.gap:
            rows.append(TranscriptRow(Part("", Content("")), Content(""), 0, len(lines)))
            lines.append("")
    return LaidTurn(turn, words.lang, width, assisted, tuple(laid), tuple(rows), tuple(lines))


def _lay_part(part: Part, line: int, width: int, old: LaidPart | None) -> LaidPart:
    if old is not None and (old.line, old.part.kind) != (line, part.kind):
        old = None
    if old is not None and old.part.text.is_same(part.text) and old.part == part:
        return old
    room = min(width - MARGIN - indent_cells(part.kind), WIDEST)
    made = wrap_text(part.text.plain, room, old.broken if old is not None else None)
    rows: list[TranscriptRow] = []
    if old is not None and not part.text.spans and not old.part.text.spans and part.kind != "old":
        for row, was, now in zip(old.rows, old.broken.pieces, made.pieces, strict=False):
            if was is not now:
                break
            rows.append(row)
    paragraphs = part.text.split("\n", allow_blank=True)
    for piece in made.pieces[len(rows) :]:
        content = paragraphs[piece.paragraph][piece.start : piece.end].rstrip()
        rows.append(TranscriptRow(part, content, piece.start, line + piece.paragraph))
    if part.kind == "old" and len(rows) > OLD_LINES:
        rows = rows[:OLD_LINES]
        rows[-1].content = rows[-1].content.truncate(made.width - 1) + "…"
    return LaidPart(part, line, made, tuple(rows))
