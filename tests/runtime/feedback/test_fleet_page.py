"""The fleet's page, in both languages and with hostile names in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from runtime.feedback.export_file import FeedbackExport
from runtime.feedback.fleet_page import WORDS, fleet_page
from tests.support.feedback_exports import answered, export
from tests.support.feedback_rows import row

NOW = datetime(2026, 11, 30, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"' onload=x & \u202e"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def exports() -> list[FeedbackExport]:
    return [
        export("Lisbon", answered("Lisbon", 10, version="1", handed_off=3), version="1", day=2, dropped=7, aside=1),
        export("里斯本", answered("里斯本", 20, version="2", handed_off=1, failed=2), version="2", day=29),
        export(
            HOSTILE.replace("\u202e", ""),
            [row(1, "h", question=HOSTILE, handoff="no_article", reply=HOSTILE, verdict="rejected", model=HOSTILE)],
            version="2",
            day=29,
        ),
    ]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_fleet_page_shows_every_branch_in_one_language(exports: list[FeedbackExport], lang: str) -> None:
    page = Tags(fleet_page(exports, now=NOW, lang=lang))
    words = WORDS[lang]
    for name in ("branches", "releases", "gaps", "helped", "handed_off", "behind", "silent"):
        assert words[name] in page.text, name
    for said in ("Lisbon", "里斯本", "shop 1", "shop 2", "30%", words["dropped"].format(count=7)):
        assert said in page.text, said
    assert page.text.count(words["behind"]) == 1
    assert page.text.count(words["silent"]) == 1
    other = WORDS["zh" if lang == "en" else "en"]
    assert not [name for name in ("branches", "releases", "gaps", "legend") if other[name] in page.text]


def test_fleet_page_words_are_there_in_both_languages() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    fields = {lang: {name: set(re.findall(r"{\w+}", text)) for name, text in WORDS[lang].items()} for lang in WORDS}
    assert fields["en"] == fields["zh"]


def test_fleet_page_shows_hostile_names_and_texts_as_text(exports: list[FeedbackExport]) -> None:
    """Part of S10: markup, quotes and direction marks in names, questions, replies and models."""
    source = fleet_page(exports, now=NOW)
    page = Tags(source)
    assert not set(page.tags) & {"script", "img", "link", "iframe", "a", "svg"}
    assert page.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    assert page.text.count("<script>alert(1)</script>\"' onload=x &") >= 4
    assert "\u202e" not in source
    assert "://" not in source


def test_fleet_page_of_nothing_says_so() -> None:
    for lang, words in WORDS.items():
        assert words["no_branches"] in fleet_page([], now=NOW, lang=lang)


def test_fleet_page_counts_a_turn_once_that_came_in_several_exports(exports: list[FeedbackExport]) -> None:
    assert fleet_page([*exports, *exports], now=NOW) == fleet_page(exports, now=NOW)
