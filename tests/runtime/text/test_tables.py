from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.text.tables import MAX_ITEM_CHARS, MAX_ITEM_TERMS, Item, split_items
from runtime.text.tokens import terms

TABLE = "Fees by model.\n\n| model | fee | days |\n|---|---:|---|\n| A4 | €3 | 2 |\n| A5 | €4 | 9 |\n\nAll with tax."


def test_table_row_is_shown_with_its_head_and_the_head_never_alone() -> None:
    items = split_items(TABLE)
    assert [item.shown for item in items] == [
        "Fees by model.",
        "model: A4; fee: €3; days: 2.",
        "model: A5; fee: €4; days: 9.",
        "All with tax.",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("We take back:\n- fridges\n- ovens.", ["We take back: fridges", "We take back: ovens."]),
        ("以下商品不能退：\n1. 牙刷\n2. 定制窗帘", ["以下商品不能退：牙刷", "以下商品不能退：定制窗帘"]),
        ("请注意：运费不退。其他照退。", ["请注意：运费不退。", "其他照退。"]),
        ("Call us. Note:", ["Call us.", "Note:"]),
    ],
)
def test_lead_in_is_shown_with_what_it_leads_to(text: str, shown: list[str]) -> None:
    assert [item.shown for item in split_items(text)] == shown


def test_list_without_line_breaks_is_cut_into_short_items_in_both_languages() -> None:
    english = "We deliver to " + ", ".join(f"town number {n} for €{n}" for n in range(200)) + "."
    chinese = "配送范围：" + "，".join(f"第{n}号城区运费{n}欧元" for n in range(200)) + "。"
    for text in (english, chinese):
        items = split_items(text)
        assert len(items) > 10
        assert all(len(terms(item.text)) <= MAX_ITEM_TERMS for item in items)
        joined = "".join(item.text for item in items).replace(" ", "")
        assert joined in text.replace(" ", "")
        assert all(str(n) in joined for n in range(200))


@pytest.mark.parametrize("unit", ["word ", "词", "a", "https://a.example/", "a:", "第一章：", "e\u0301"])
def test_text_without_a_full_stop_is_cut_and_nothing_of_it_is_lost(unit: str) -> None:
    """A section that is one line of any length must not be shown whole, in either language."""
    for text in (unit * 20_000, f"Fees: {unit * 20_000}", f"- {unit * 20_000}"):
        items = split_items(text)
        assert max(len(item.shown) for item in items) <= 2 * MAX_ITEM_CHARS
        joined = "".join(item.lead * (not number) + item.text for number, item in enumerate(items))
        assert "".join(joined.split()).removeprefix("-") == "".join(text.split()).removeprefix("-")


@given(st.text(alphabet="ab |-:\n.，：;1。", max_size=60))
def test_no_word_of_a_text_is_lost(text: str) -> None:
    items = split_items(text)
    found = set(terms(" ".join(f"{item.lead}\n{item.text}" for item in items)))
    assert {term for term in terms(text) if term.strip("1")} <= found  # ones may number a list
    assert all(isinstance(item, Item) and item.shown for item in items)


@pytest.mark.parametrize("line", ["3.5 kg is what it weighs.", "12.5公斤是它的重量。"])
def test_number_with_a_decimal_point_at_the_start_of_a_line_is_no_list_mark(line: str) -> None:
    assert [item.shown for item in split_items(line)] == [line]
