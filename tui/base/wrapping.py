"""Text broken into lines of a width, anew only where it grew.

A draft grows at its end, and lines are filled one after the other: text some lines before the end is never
broken differently again. So a new token costs the last lines of a draft, however long it is.

Promises: pure; `wrap_text(text, width, before)` is `wrap_text(text, width)` for every `before`; a piece is a slice of
its paragraph, so that what is selected on screen is the text itself. Knows nothing of styles and widgets.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from rich._wrap import divide_line

from tui.base.inert_text import is_seam

MIN_WIDTH = 8
"""Cells; nothing is broken more narrowly."""
_REDONE = 3
"""Pieces at the end that a longer text may break differently: `abc“` on a line of its own moves up as `abc` once a
Chinese letter follows, which takes the bracket with it (`tui.base.inert_text.wrap_chinese`)."""


class WrappedPiece(NamedTuple):
    """One line on screen: `paragraph[start:end]` of the paragraph number `paragraph`."""

    paragraph: int
    start: int
    end: int


class WrappedText(NamedTuple):
    """A text and its pieces; every paragraph has at least one."""

    text: str
    width: int
    paragraphs: tuple[str, ...]
    pieces: tuple[WrappedPiece, ...]


def wrap_text(text: str, width: int, before: WrappedText | None = None) -> WrappedText:
    """The pieces of a text, each at most `width` cells wide. `before` is what was broken last and may save the work."""
    width = max(MIN_WIDTH, width)
    if before is not None and before.width == width:
        if before.text == text:
            return before
        if before.text and text.startswith(before.text):
            return _grown(text, width, before)
    paragraphs = tuple(text.split("\n"))
    pieces = tuple(piece for number, one in enumerate(paragraphs) for piece in _pieces(one, number, 0, width))
    return WrappedText(text, width, paragraphs, pieces)


def _grown(text: str, width: int, before: WrappedText) -> WrappedText:
    # Only the last paragraph can have grown. Its last pieces are broken again, back to a place that no later text can
    # move (`is_seam`): there a break before is a break now, so everything up to it may be kept.
    last = len(before.paragraphs) - 1
    first, *more = (before.paragraphs[last] + text[len(before.text) :]).split("\n")
    kept = list(before.pieces)
    start = 0
    redone = 0
    while kept and kept[-1].paragraph == last and (redone < _REDONE or not is_seam(first, start)):
        start, redone = kept.pop().start, redone + 1
    kept += _pieces(first, last, start, width)
    for number, one in enumerate(more, start=last + 1):
        kept += _pieces(one, number, 0, width)
    return WrappedText(text, width, (*before.paragraphs[:last], first, *more), tuple(kept))


def _pieces(paragraph: str, number: int, start: int, width: int) -> list[WrappedPiece]:
    rest = paragraph[start:] if start else paragraph
    breaks = [0, *divide_line(rest, width), len(rest)]
    return [WrappedPiece(number, start + one, start + two) for one, two in pairwise(breaks)]
