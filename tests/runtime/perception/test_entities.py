"""Order numbers, codes, serials, dates and totals of receipts and labels are offered as they are written."""

from __future__ import annotations

import pytest

from runtime.perception.entities import MAX_ENTITIES, offer_entities
from runtime.text.personal_data import PersonalRules
from runtime.text.redaction import Redactor

RULES = PersonalRules(order_number=(r"NL-?\d{6,12}",))
EN = """NORTHLIGHT
Order No. NL-20431877
Date 14/03/2026 16:42
Toaster TX-200 €39.90
Model: KT-17
S/N: 8H2K-99137
Subtotal €168.90
TOTAL €168.90
Thank you"""
ZH = """北光电器
订单号 NL20431877
日期 2026年3月14日 16:42
电热水壶 KT-17 ¥129.00
型号：TX-200
序列号：8H2K-99137
小计 ¥168.90
合计 ¥168.90"""


def offered(text: str, rules: PersonalRules = RULES) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    lines = text.splitlines()
    for one in offer_entities(lines, rules):
        assert one.value in lines[one.line]
        out.setdefault(one.kind, []).append(one.value)
    return out


def test_entities_of_an_english_receipt() -> None:
    assert offered(EN) == {
        "order_number": ["NL-20431877"],
        "date": ["14/03/2026"],
        "model_code": ["TX-200", "KT-17"],
        "serial_number": ["8H2K-99137"],
        "total": ["€168.90"],
    }


def test_entities_of_a_chinese_receipt() -> None:
    assert offered(ZH) == {
        "order_number": ["NL20431877"],
        "date": ["2026年3月14日"],
        "model_code": ["KT-17", "TX-200"],
        "serial_number": ["8H2K-99137"],
        "total": ["¥168.90"],
    }


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Receipt # 00491-22", "order_number", "00491-22"),
        ("单号：A1002938", "order_number", "A1002938"),
        ("Serial number X99-1001", "serial_number", "X99-1001"),
        ("Amount due: 1,249.00", "total", "1,249.00"),
        ("TOTAL\n€ 12.50", "total", "€ 12.50"),
        ("实付：¥88", "total", "¥88"),
        ("March 14, 2026", "date", "March 14, 2026"),
        ("2026-03-14", "date", "2026-03-14"),
    ],
)
def test_entity_is_found_by_its_cue_without_any_rule(text: str, kind: str, value: str) -> None:
    found: dict[str, list[str]] = {}
    for one in offer_entities(text.splitlines()):
        found.setdefault(one.kind, []).append(one.value)
    assert found[kind] == [value]


def test_prices_sums_before_the_total_and_thanks_are_offered_as_nothing() -> None:
    assert offered("Subtotal €10.00\nItems 3\nOpening hours 9-18\n小计 ¥10.00\n谢谢惠顾") == {}


def test_entities_are_bounded() -> None:
    assert len(offer_entities([f"Model: TX-{number}" for number in range(500)])) == MAX_ENTITIES


@pytest.mark.parametrize("text", [EN, ZH], ids=["en", "zh"])
def test_order_number_that_is_offered_is_redacted_like_a_typed_one(text: str) -> None:
    hidden = Redactor(rules=RULES).redact(text)
    assert offered(text)["order_number"][0] not in hidden
    assert "<ORDER_1>" in hidden
    assert "168.90" in hidden
