"""Unanswerable questions: no article names what they ask for, and they are the share asked for, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.enlarging.unanswerable import unanswerable_conversations, unanswerable_questions
from runtime.text.articles import load_articles, parse_article
from runtime.text.tokens import terms
from tests.support.paths import SHOP


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_unanswerable_questions_are_of_three_sorts_and_name_nothing_that_articles_do(lang: str) -> None:
    articles = load_articles(SHOP / lang / "articles")
    found = unanswerable_questions(articles, lang, 60)
    assert {sort for _, sort in found} == {"near miss", "out of scope", "needs a person"}
    assert len({question for question, _ in found}) == 60
    assert unanswerable_questions(articles, lang, 60) == found
    thing = "trampoline" if lang == "en" else "蹦床"
    asked = [question for question, _ in unanswerable_questions(articles, lang, 1000)]
    assert any(thing in question for question in asked)
    sold = parse_article(f"# Toys\n\n## Offer\n\n{thing} 1.", Path("toys.md"), lang=lang)
    assert not any(thing in question for question, _ in unanswerable_questions([*articles, sold], lang, 1000))


def test_unanswerable_conversations_are_a_share_of_all_and_refuse() -> None:
    found = list(unanswerable_conversations([], "en", 88, "I can't find that.", share=0.12))
    assert len(found) == 12
    assert all(each.turns[0].evidence == () and each.turns[1].content == "I can't find that." for each in found)
    assert {each.source for each in found} == {"simulated"}
    assert list(unanswerable_conversations([], "de", 88, "Nein.")) == []


def test_terms_of_a_thing_are_whole_words() -> None:
    assert set(terms("lawn mower")) == {"lawn", "mower"}
