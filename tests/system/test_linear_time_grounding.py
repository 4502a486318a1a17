"""Functions of grounding, retrieval and understanding over strangers' text take linear time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from runtime.grounding.citations import cite, supporting_sentences, unsupported_quantities
from runtime.grounding.claim_check import unsupported_claims
from runtime.grounding.extractive_answer import best_sentences, extractive_fallback
from runtime.grounding.fact_matching import facts_found, is_refusal, normalise
from runtime.retrieval.retriever import Earlier, Hit
from runtime.text.articles import Section, slug
from runtime.text.disagreement import statements
from runtime.text.normalize import nfkc
from runtime.text.tokens import BM25, terms
from runtime.understanding.dialogue_context import detect_language, find_entities, is_follow_up, rewrite_follow_up
from runtime.understanding.injection_filter import without_injected
from runtime.understanding.linear_classifier import hash_features
from runtime.understanding.prompt_injection import is_injection, leaks_system_prompt
from tests.support.linear_time import growth

SIZE = 1000
"""Characters: a quarter of what a customer may send at once."""
MOST = 3.0
"""Allowed growth for twice the text: 2 is linear, 4 quadratic."""

SECTION = Section("a", "b", "Returns", "Period", "You can return it within 30 days. It costs €4.90, see NL-17.", "en")


def alike(texts: Sequence[str]) -> list[float]:
    return [0.0] * len(texts)


def hits(text: str) -> list[Hit]:
    return [Hit(Section("a", "b", "t", "h", text, "en"), 1.0, 0.9, (Earlier(text, 0.9),))]


FUNCTIONS: dict[str, Callable[[str], Any]] = {
    "nfkc": nfkc,
    "terms": terms,
    "BM25": lambda text: BM25([text]).scores(text),
    "cite": lambda text: cite(text, [SECTION, Section("c", "d", "t", "h", text, "en")]),
    "supporting_sentences": lambda text: supporting_sentences(text, SECTION),
    "supporting_sentences of a long section": lambda text: supporting_sentences(SECTION.text, hits(text)[0].section),
    "unsupported_quantities": lambda text: unsupported_quantities(text, [text, "30 days"]),
    "unsupported_claims": lambda text: unsupported_claims(text, [SECTION.text]),
    "unsupported_claims against a long source": lambda text: unsupported_claims(SECTION.text, [text]),
    "statements": lambda text: statements.__wrapped__("t", text),  # what is remembered takes no time
    "best_sentences": lambda text: best_sentences(hits(text), alike),
    "extractive_fallback": lambda text: extractive_fallback(text, hits(SECTION.text), alike, 0.8),
    "facts_found": lambda text: facts_found(text, [["30 days", "30天"], ["€4.90"]]),
    "is_refusal": lambda text: is_refusal(text, "I can't find that in our articles."),
    "normalise": normalise,
    "is_follow_up": is_follow_up,
    "find_entities": lambda text: find_entities([text]),
    "rewrite_follow_up": lambda text: rewrite_follow_up("And that?", [text]),
    "slug": slug,
    "detect_language": lambda text: detect_language(text, "en"),
    "hash_features": hash_features,
    "is_injection": is_injection,
    "without_injected": lambda text: without_injected(hits(text)[0].section),
    "leaks_system_prompt": lambda text: leaks_system_prompt(text, text, [SECTION]),
}

UNITS = {
    "letters": "a",
    "letters and dashes": "a-",
    "spaces": " ",
    "newlines": "\n",
    "blank lines": " \n",
    "digits": "1",
    "digits and commas": "1,",
    "dates": "2026-01-1 ",
    "codes": "NL-17 ",
    "different codes": "{n}-x{n} ",
    "orders": "order NL-1234567 ",
    "sentences": "It is free. ",
    "different sentences": "Item {n} costs €{n}. ",
    "names": "a Bb{n} Cc ",
    "mailboxes": "a.b-c+",
    "half addresses": "a@b.",
    "questions and answers": "q: a: ",
    "please": "please ",
    "orders to say": "say reply answer ",
    "ignore": "ignore the ",
    "tags": "< ",
    "slashes": "</ ",
    "combining marks": "\u0301\u0316",
    "invisible characters": "\u200b",
    "ligature": "\ufdfa",
    "汉字": "退货",
    "汉字 sentences": "请说免费。",
    "Chinese numerals": "三十天",
    "Chinese titles": "找陈先生，",
}
FRAMES = ("x{body}y", "<{body}", "say {body}!")


def maker(unit: str, frame: str) -> Callable[[int], str]:
    def make(size: int) -> str:
        body = "".join(unit.replace("{n}", str(1000 + n)) for n in range(-(-size // len(unit))))[:size]
        return frame.replace("{body}", body)

    return make


@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_grows_linearly_with_the_text(name: str) -> None:
    function = FUNCTIONS[name]
    shapes = {(key, frame): maker(unit, frame) for key, unit in UNITS.items() for frame in FRAMES}
    suspects = {shape: make for shape, make in shapes.items() if growth(function, make, SIZE) >= MOST}
    # Tried again, longer and more often: a table that is built once, or a neighbour's work, is no growth.
    ratios = {
        shape: min(growth(function, make, 4 * SIZE, repeats=3) for _ in range(3)) for shape, make in suspects.items()
    }
    assert {shape: ratio for shape, ratio in ratios.items() if ratio >= MOST} == {}
