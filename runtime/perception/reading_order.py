"""Boxes of recognised text as lines in the order in which a person reads the page.

A photographed page is seldom straight: the boxes' own slope says how far it leans, and rows are found as if it did not.
Promises: the order depends on the boxes alone; what stands in one row is one line, from left to right; time is
n log n. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from runtime.perception.attachment_text import Box, TextLine

Corners = tuple[tuple[float, float], ...]
"""Four: top left, top right, bottom right, bottom left, as the text is read."""
_SAME_ROW = 0.5
"""Centres nearer than this share of the lower box's height stand in one row."""
_WIDE = 2.0
"""Only boxes this much wider than high show how the page leans."""


@dataclass(frozen=True)
class Found:
    """A piece of text that a recogniser found."""

    text: str
    score: float
    corners: Corners

    @property
    def width(self) -> float:
        """The length of its upper edge."""
        return math.dist(self.corners[0], self.corners[1])

    @property
    def height(self) -> float:
        """The length of its left edge."""
        return math.dist(self.corners[0], self.corners[3])

    @property
    def angle(self) -> float:
        """The slope of its upper edge, in radians."""
        (x0, y0), (x1, y1) = self.corners[0], self.corners[1]
        return math.atan2(y1 - y0, x1 - x0)


def in_reading_order(found: Sequence[Found], page: int = 1) -> list[TextLine]:
    """The rows of a page, top to bottom, each as one line with the box around all of it."""
    wide = [one for one in found if one.width > _WIDE * one.height]
    lean = median(one.angle for one in wide) if wide else 0.0
    placed = sorted(((_upright(one, lean), one) for one in found if one.text.strip()), key=lambda item: item[0])
    rows: list[list[tuple[float, Found]]] = []
    middle = height = 0.0
    for (y, x), one in placed:
        if rows and abs(y - middle) < _SAME_ROW * min(height, one.height):
            rows[-1].append((x, one))
        else:
            rows.append([(x, one)])
            middle, height = y, one.height
    return [_line([one for _, one in sorted(row, key=lambda item: item[0])], page) for row in rows]


def _upright(one: Found, lean: float) -> tuple[float, float]:
    """(y, x) of a box's centre on a page that is turned back by its lean."""
    x = sum(corner[0] for corner in one.corners) / 4
    y = sum(corner[1] for corner in one.corners) / 4
    return y * math.cos(lean) - x * math.sin(lean), x * math.cos(lean) + y * math.sin(lean)


def _line(row: Sequence[Found], page: int) -> TextLine:
    corners = [corner for one in row for corner in one.corners]
    letters = sum(len(one.text) for one in row)
    return TextLine(
        text=" ".join(one.text.strip() for one in row),
        confidence=round(min(1.0, max(0.0, sum(one.score * len(one.text) for one in row) / letters)), 4),
        box=Box(
            page=page,
            left=math.floor(min(x for x, _ in corners)),
            top=math.floor(min(y for _, y in corners)),
            right=math.ceil(max(x for x, _ in corners)),
            bottom=math.ceil(max(y for _, y in corners)),
        ),
    )
