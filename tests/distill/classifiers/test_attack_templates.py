"""The templates of hostile sentences: data that is whole and filled alike every time."""

from __future__ import annotations

import random

import pytest

from distill.classifiers.attack_templates import PLACE, load_templates


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_attack_templates_have_a_place_for_a_payload_and_are_written_once(lang: str) -> None:
    templates = load_templates()
    forms, payloads = templates.forms[lang], templates.payloads[lang]
    assert all(PLACE in form for form in forms)
    assert len(set(forms)) == len(forms) > templates.reviewed > 0
    assert len(set(payloads)) == len(payloads) > 5


def test_attack_templates_are_filled_alike_for_one_seed() -> None:
    templates = load_templates()
    filled = templates.fill(random.Random(1), 3)
    assert filled == templates.fill(random.Random(1), 3)
    assert filled != templates.fill(random.Random(2), 3)
    assert len(filled) == 3 * sum(map(len, templates.forms.values())) + len(templates.orders)
    assert not any(PLACE in sentence for sentence in filled)
