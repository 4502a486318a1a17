from __future__ import annotations

import re
from html.parser import HTMLParser

from runtime.evaluation.answer_metrics import evaluation, judge
from runtime.evaluation.html_report import render
from tests.runtime.evaluation.test_answer_metrics import DELIVERY, NOBODY, RETURNS, SPEC, WINDOW

HOSTILE = "<script>alert(1)</script><img src=x onerror=y>\x1b[31m\u202egnp.exe & 30 days"


class Tags(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def page(answer: str = "You have 30 days.") -> str:
    questions = (RETURNS, DELIVERY, NOBODY)
    teacher = [judge(q, answer, [WINDOW], SPEC) for q in questions]
    student = [judge(q, "I can't find that.", [WINDOW], SPEC) for q in questions]
    whole = evaluation({"teacher": teacher, "q4_k_m": student})
    return render(
        "shop 1",
        {
            **whole,
            "retrieval": {"en": {"queries": 3, "hit@1": 0.5}, "zh": {"queries": 1, "hit@1": 1.0}},
            "classifiers": {"intent": {"labels": 27, "tested": 402, "accuracy": 0.754, "macro_f1": 0.758}},
        },
    )


def test_the_page_is_whole_and_has_a_plot_for_every_figure_that_was_measured() -> None:
    tags = Tags()
    tags.feed(page())
    assert tags.open == []
    assert tags.seen.count("svg") == 7
    for words in ("facts found", "运费多少？", "worst first", "than teacher", "hit@1", "macro f1", "0.758"):
        assert words in page()


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    assert not re.search(r"<script|<link|<img|<iframe|src=|href=\"(?!#)|url\((?!#)|@import|https?:", page())
    assert not re.search(r"<script|<link|<img|<iframe", page(HOSTILE))
    assert "default-src 'none'" in page()


def test_what_a_model_wrote_is_shown_as_text() -> None:
    """Part of S10: markup, escape sequences and characters that turn text round, in a report."""
    shown = page(HOSTILE)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_without_an_answer_the_page_says_so() -> None:
    assert "No question was asked" in render("shop 1", evaluation({}))
