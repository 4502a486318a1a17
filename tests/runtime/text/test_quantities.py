from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.text.quantities import quantities


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("€4.90", [("number", ("4.9",), "euro")]),
        ("4.9 euros", [("number", ("4.9",), "euro")]),
        ("€ 1,234.50", [("number", ("1234.5",), "euro")]),
        ("49欧元", [("number", ("49",), "euro")]),
        ("3，5", [("number", ("3",), ""), ("number", ("5",), "")]),
        ("30 days", [("number", ("30",), "day")]),
        ("30-day period", [("number", ("30",), "day")]),
        ("thirty days", [("number", ("30",), "day")]),
        ("twenty-five days", [("number", ("25",), "day")]),
        ("三十天", [("number", ("30",), "day")]),
        ("一百二十五天", [("number", ("125",), "day")]),
        ("十二个月", [("number", ("12",), "month")]),
        ("两小时内", [("number", ("2",), "hour")]),
        ("2至4个工作日", [("number", ("2",), ""), ("number", ("4",), "day")]),
        ("10%", [("number", ("10",), "percent")]),
        ("100积分抵3欧元", [("number", ("100",), "point"), ("number", ("3",), "euro")]),
        ("14 March 2026", [("date", ("2026", "3", "14"), "")]),
        ("March 14th, 2026", [("date", ("2026", "3", "14"), "")]),
        ("2026年3月14日", [("date", ("2026", "3", "14"), "")]),
        ("2026-03-14", [("date", ("2026", "3", "14"), "")]),
        ("31 January", [("date", ("", "1", "31"), "")]),
        ("1月31日", [("date", ("", "1", "31"), "")]),
        ("March 2026", [("date", ("2026", "3", ""), "")]),
        ("18:00", [("time", ("18", "0"), "")]),
        ("6 pm", [("time", ("18", "0"), "")]),
        ("下午6点半", [("time", ("18", "30"), "")]),
        ("8:00-20:00", [("time", ("8", "0"), ""), ("time", ("20", "0"), "")]),
        ("model NL-17", [("code", ("nl-17",), "")]),
        ("编号G12345678", [("code", ("g12345678",), "")]),
        ("EUR49", [("number", ("49",), "euro")]),
        ("one of them", []),
        ("1. First\n2. Second", []),
        ("order <ORDER_1> of <DATE_2>", []),
        ("", []),
    ],
)
def test_figures_are_read_as_shops_write_them(text: str, expected: list[tuple[str, tuple[str, ...], str]]) -> None:
    assert [(figure.kind, figure.value, figure.unit) for figure in quantities(text)] == expected


@pytest.mark.parametrize(
    ("known", "claim", "holds"),
    [
        ("30 days", "三十天", True),
        ("30 days", "130 days", False),
        ("30 days", "30 euros", False),
        ("30", "30 days", True),
        ("14 March 2026", "14 March", True),
        ("14 March", "14 March 2026", False),
        ("14 March", "14", False),
        ("18:00", "6 pm", True),
        ("€4.90", "4.9欧元", True),
        ("€4.90", "$4.90", False),
    ],
)
def test_a_claim_rests_on_a_figure_of_its_kind_and_value(known: str, claim: str, holds: bool) -> None:
    assert quantities(known)[0].supports(quantities(claim)[0]) is holds


def test_numbers_in_words_always_count_where_claims_are_checked_against() -> None:
    assert quantities("two kettles") == []
    assert quantities("two kettles", loose=True)[0].supports(quantities("2 kettles")[0])


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for figure in quantities(text, loose=True):
        assert figure.supports(figure)


@given(st.integers(1, 999_999))
def test_a_number_is_the_same_with_and_without_separators(number: int) -> None:
    assert quantities(f"€{number:,}")[0].value == quantities(f"{number}欧元")[0].value == (str(number),)
