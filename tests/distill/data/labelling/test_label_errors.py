"""Label errors: what is planted wrong stands in the list, in both languages, with the right label suggested."""

from __future__ import annotations

import random

import pytest

from distill.data.labelling.label_errors import find_label_errors
from runtime.errors import InputError

QUESTIONS = {
    "en": {
        "delivery": (
            "when does the {} arrive",
            "where is my {} parcel",
            "delivery time of the {}",
            "has the {} been sent",
        ),
        "refund": (
            "i want my money back for the {}",
            "refund the {} please",
            "when is the {} paid back",
            "return the {}",
        ),
        "repair": ("the {} is broken", "can you repair my {}", "the {} makes a noise", "my {} does not start"),
    },
    "zh": {
        "delivery": ("{}什么时候送到", "我的{}包裹在哪里", "{}的送货时间", "{}发货了吗"),
        "refund": ("我要退{}的钱", "请退款{}", "{}的钱什么时候退", "退货{}"),
        "repair": ("{}坏了", "能修我的{}吗", "{}有噪音", "我的{}不启动"),
    },
}
THINGS = {
    "en": ("lamp", "desk", "fridge", "kettle", "chair", "radio", "hob", "dryer", "oven", "router"),
    "zh": ("台灯", "书桌", "冰箱", "水壶", "椅子", "收音机", "电磁炉", "烘干机", "烤箱", "路由器"),
}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_label_errors_that_were_planted_stand_in_a_list_of_twice_their_number(lang: str) -> None:
    rows = [
        (form.format(thing), label)
        for label, forms in QUESTIONS[lang].items()
        for form in forms
        for thing in THINGS[lang]
    ]
    rng = random.Random(3)
    planted = set(rng.sample(range(len(rows)), 4))
    labels = sorted(QUESTIONS[lang])
    wrong = [rng.choice([each for each in labels if each != label]) if place in planted else label
             for place, (_, label) in enumerate(rows)]  # fmt: skip
    found = find_label_errors([text for text, _ in rows], wrong, most=8)
    assert planted <= {error.place for error in found}
    assert all(error.suggested == rows[error.place][1] for error in found if error.place in planted)
    assert [error.confidence for error in found] == sorted((error.confidence for error in found), reverse=True)
    assert planted <= {error.place for error in find_label_errors([text for text, _ in rows], wrong)}


def test_label_errors_need_two_labels_with_examples() -> None:
    with pytest.raises(InputError, match="1 of 2 labels have 5 examples"):
        find_label_errors(["a"] * 6 + ["b"], ["x"] * 6 + ["y"])
