"""The example shop is whole: two languages that agree, cases and questions that hold what they claim."""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from typing import Any

import pytest

from distill.data.simulation_templates import SLOT, check_slots, load_cases, load_templates
from runtime.base.jsonl import read_rows
from runtime.text.articles import Article, Section, load_articles
from runtime.text.records import Question
from tests.support.paths import SHOP

LANGS = ("en", "zh")
NEAR_COPY = 0.7
"""Questions at least this alike (`likeness`) count as copies of a template."""


@pytest.fixture(scope="module")
def articles() -> dict[str, list[Article]]:
    return {lang: load_articles(SHOP / lang / "articles") for lang in LANGS}


@pytest.fixture(scope="module")
def sections(articles: dict[str, list[Article]]) -> dict[str, dict[str, Section]]:
    return {
        lang: {section.ref: section for article in found for section in article.sections}
        for lang, found in articles.items()
    }


@pytest.fixture(scope="module")
def questions() -> dict[str, list[Question]]:
    return {
        lang: [row for path in sorted((SHOP / lang).glob("questions*.jsonl")) for row in read_rows(Question, path)]
        for lang in LANGS
    }


def plain(text: str) -> str:
    """Width, thousands separators and blanks do not matter; everything else does."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.sub(r"\s+", " ", re.sub(r"(?<=\d),(?=\d{3})", "", text))


def numbers(text: str) -> set[str]:
    text = re.sub(r"(?<=\d),(?=\d{3})", "", unicodedata.normalize("NFKC", text))
    return set(re.findall(r"\d+(?:[.:]\d+)*", text))


def bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def pairs_of(text: str) -> frozenset[str]:
    return frozenset(text[place : place + 2] for place in range(len(text) - 1))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Dice's coefficient of the pairs of letters."""
    return 2 * len(one & other) / max(1, len(one) + len(other))


def test_there_are_sixty_articles_with_the_same_ids_and_anchors_in_both_languages(
    articles: dict[str, list[Article]],
) -> None:
    shapes = {
        lang: {
            article.id: ([each.anchor for each in article.sections], article.topic, article.audience, article.product)
            for article in found
        }
        for lang, found in articles.items()
    }
    assert len(shapes["en"]) >= 60
    assert shapes["en"] == shapes["zh"]
    dates = {lang: {a.id: (a.valid_from, a.valid_until) for a in found} for lang, found in articles.items()}
    assert dates["en"] == dates["zh"]


@pytest.mark.parametrize("lang", LANGS)
def test_articles_stand_under_their_name_and_in_their_language(lang: str, articles: dict[str, list[Article]]) -> None:
    for article in articles[lang]:
        assert (SHOP / lang / "articles" / f"{article.id}.md").is_file(), article.id
        assert article.lang == lang, article.id
        assert 1 <= len(article.sections) <= 4, article.id
        for section in article.sections:
            assert not section.anchor.startswith("overview"), f"{section.ref}: text before the first section"


@pytest.mark.parametrize("lang", LANGS)
def test_every_section_has_a_case_and_every_evidence_exists(
    lang: str, sections: dict[str, dict[str, Section]], questions: dict[str, list[Question]]
) -> None:
    cases = load_cases(SHOP / lang / "cases")
    cited = {ref for case in cases for ref in case.evidence}
    assert cited - set(sections[lang]) == set()
    assert set(sections[lang]) - cited == set(), "sections that no case teaches"
    for question in questions[lang]:
        assert set(question.evidence) <= set(sections[lang]), question.id
        assert all(ref.split("#")[0] == question.article for ref in question.evidence), question.id


@pytest.mark.parametrize("lang", LANGS)
def test_every_number_of_an_answer_stands_in_its_evidence(lang: str, sections: dict[str, dict[str, Section]]) -> None:
    invented = []
    for case in load_cases(SHOP / lang / "cases"):
        known = set()
        for ref in case.evidence:
            section = sections[lang][ref]
            known |= numbers(f"{section.title} {section.heading} {section.text}")
        invented += [(case.evidence, answer) for answer in case.answer if not numbers(answer) <= known]
    assert invented == []


@pytest.mark.parametrize("lang", LANGS)
def test_every_fact_of_a_question_stands_in_its_evidence(
    lang: str, sections: dict[str, dict[str, Section]], questions: dict[str, list[Question]]
) -> None:
    missing = []
    for question in questions[lang]:
        text = plain(" ".join(sections[lang][ref].text for ref in question.evidence))
        missing += [(question.id, fact) for fact in question.facts if not any(plain(each) in text for each in fact)]
    assert missing == []


@pytest.mark.parametrize("lang", LANGS)
def test_answerable_questions_say_what_a_right_answer_holds(lang: str, questions: dict[str, list[Question]]) -> None:
    for question in questions[lang]:
        assert question.lang == lang, question.id
        if question.answerable:
            assert question.article, question.id
            assert question.evidence, question.id
            assert question.facts, question.id
            assert all(fact and all(fact) for fact in question.facts), question.id
        else:
            assert (question.article, question.evidence, question.facts) == (None, (), ()), question.id


def test_there_are_150_questions_and_30_without_an_answer(questions: dict[str, list[Question]]) -> None:
    assert len(questions["en"]) >= 150
    assert sum(not question.answerable for question in questions["en"]) >= 30
    for lang in LANGS:
        names = [question.id for question in questions[lang]]
        texts = [bare(question.question) for question in questions[lang]]
        assert len(set(names)) == len(names)
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("lang", LANGS)
def test_questions_are_no_near_copies_of_templates(lang: str, questions: dict[str, list[Question]]) -> None:
    scene, _ = load_templates(SHOP / lang)
    asks = [ask for case in load_cases(SHOP / lang / "cases") for ask in (*case.ask, *case.follow_up)]
    templates = [(ask, pairs_of(bare(SLOT.sub("", ask)))) for ask in (*asks, *scene.unanswerable)]
    asked = [(question.id, question.question, pairs_of(bare(question.question))) for question in questions[lang]]
    copies = [
        (name, text, ask)
        for ask, template in templates
        for name, text, own in asked
        if likeness(own, template) >= NEAR_COPY
    ]
    assert copies == []
    assert (
        likeness(*(pairs_of(bare(text)) for text in ("How long may I return it?", "How long can I return it?"))) > 0.7
    )


@pytest.mark.parametrize("lang", LANGS)
def test_every_slot_is_filled_and_sixty_questions_have_no_answer(lang: str) -> None:
    scene, refusal = load_templates(SHOP / lang)
    check_slots(SHOP / lang, scene, load_cases(SHOP / lang / "cases"))
    assert scene.lang == lang
    assert len(set(scene.unanswerable)) == len(scene.unanswerable) >= 60
    assert refusal in (SHOP / lang / "house-rules.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("lang", LANGS)
def test_cases_are_named_after_their_article(lang: str) -> None:
    for path in (SHOP / lang / "cases").glob("*.toml"):
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        assert content["article"] == path.stem


def test_both_languages_use_the_same_intents() -> None:
    by_ref: dict[str, list[Any]] = {}
    for lang in LANGS:
        found = sorted((case.evidence, case.intent) for case in load_cases(SHOP / lang / "cases"))
        by_ref[lang] = sorted(set(found))
    assert json.dumps(by_ref["en"]) == json.dumps(by_ref["zh"])
