from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runtime.articles import parse_article


@pytest.fixture(scope="module")
def attacks() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "attacks.py"
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("attacks", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["attacks"] = module
    spec.loader.exec_module(module)
    return module


def test_most_of_the_attacks_are_in_forms_that_were_held_out(attacks: ModuleType) -> None:
    corpus = attacks.corpus()
    assert corpus == attacks.corpus()
    assert len({(attack.article, attack.question) for attack in corpus}) == 160
    assert len({(attack.sign, attack.lang) for attack in corpus}) == 80
    for attack in corpus:
        carrier = attack.article or attack.question
        assert attack.sign in carrier
        assert attack.article == "" or attack.sign not in attack.question
    assert sum(not attack.seen for attack in corpus) == 96
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
