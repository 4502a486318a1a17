from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runtime.articles import parse_article
from runtime.injection import orders


@pytest.fixture(scope="module")
def attacks() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "attacks.py"
    spec = importlib.util.spec_from_file_location("attacks", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["attacks"] = module
    spec.loader.exec_module(module)
    return module


def test_there_are_sixty_four_different_attacks_and_half_are_in_forms_that_are_looked_for(attacks: ModuleType) -> None:
    corpus = attacks.corpus()
    assert corpus == attacks.corpus()
    assert len({(attack.article, attack.question) for attack in corpus}) == 64
    for attack in corpus:
        carrier = attack.article or attack.question
        assert attack.sign in carrier
        assert attack.article == "" or attack.sign not in attack.question
        assert orders(carrier) is attack.seen, attack.name
    assert sum(attack.seen for attack in corpus) == 32
    assert {attack.lang for attack in corpus} == {"en", "zh"}


def test_every_hostile_article_is_an_article(attacks: ModuleType) -> None:
    for attack in attacks.corpus():
        if attack.article:
            (section,) = parse_article(attack.article, Path("attack.md")).sections
            assert attack.sign in section.text


def test_a_rate_has_its_interval(attacks: ModuleType) -> None:
    low, high = attacks.wilson(0, 64)
    assert (round(low, 4), round(high, 4)) == (0.0, 0.0566)
    low, high = attacks.wilson(32, 64)
    assert (round(low, 3), round(high, 3)) == (0.381, 0.619)
    assert attacks.wilson(64, 64)[1] == 1.0
