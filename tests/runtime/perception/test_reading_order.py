"""Boxes of text become lines as a person reads them, also on a page that leans."""

from __future__ import annotations

import math
import random

import pytest

from runtime.perception.reading_order import Found, in_reading_order


def box(text: str, x: float, y: float, lean: float = 0.0) -> Found:
    """A box of 12 pixels a letter, turned around the page's corner."""

    def turn(x: float, y: float) -> tuple[float, float]:
        return x * math.cos(lean) - y * math.sin(lean), x * math.sin(lean) + y * math.cos(lean)

    width = 12 * len(text)
    return Found(text, 0.9, (turn(x, y), turn(x + width, y), turn(x + width, y + 24), turn(x, y + 24)))


RECEIPT = [("北光电器", 40, 20), ("Toaster TX-200", 40, 60), ("39.90", 520, 62), ("合计", 40, 100), ("¥39.90", 510, 97)]


@pytest.mark.parametrize("degrees", [-8, 0, 8])
def test_order_of_a_leaning_page_is_that_of_the_straight_one(degrees: int) -> None:
    boxes = [box(*one, lean=math.radians(degrees)) for one in RECEIPT]
    random.Random(degrees).shuffle(boxes)
    lines = in_reading_order(boxes, page=2)
    assert [line.text for line in lines] == ["北光电器", "Toaster TX-200 39.90", "合计 ¥39.90"]
    assert all(line.box and line.box.page == 2 for line in lines)


def test_order_of_one_or_no_box_is_itself() -> None:
    assert in_reading_order([]) == []
    assert in_reading_order([box(" ", 0, 0)]) == []
    (line,) = in_reading_order([box("E24", 10, 10)])
    assert (line.text, line.confidence) == ("E24", 0.9)
    assert line.box
    unsure = Found("合计", 0.99996, ((0, 0), (24, 0), (24, 24), (0, 24)))
    assert in_reading_order([unsure])[0].confidence == 1.0, "four decimals are what a reader can judge"
    assert (line.box.left, line.box.top, line.box.right, line.box.bottom) == (10, 10, 46, 34)
