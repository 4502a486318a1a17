from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.journal.journal import Journal
from runtime.journal.search import expression
from runtime.journal.stored_turn import Feedback


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    opened = Journal(tmp_path / "journal.sqlite")
    for name, question, draft in (
        ("en", "Where is my parcel NL-17?", "It is on its way to Müllerstraße."),
        ("zh", "我的包裹到哪里了？订单号是A-2291", "包裹正在配送途中，退货期限为30天。"),
        ("other", "Do you sell kettles?", "Yes, the NL-KETTLE-17."),
    ):
        key = journal_end(opened, name, question, draft)
        assert key.number == 1
    return opened


def journal_end(journal: Journal, name: str, question: str, draft: str):  # type: ignore[no-untyped-def]
    key = journal.ask(name, question, "zh" if name == "zh" else "en")
    journal.end(key, "complete", draft)
    return key


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("parcel", ["en"]),
        ("PARCELS", ["en"]),
        ("kettle", ["other"]),
        ("müllerstraße", ["en"]),
        ("包裹", ["zh"]),
        ("退货期限", ["zh"]),
        ("期限", ["zh"]),
        ("货", ["zh"]),
        ("限", ["zh"]),
        ("退货 包裹", ["zh"]),
        ("货退", []),
        ("包裹 kettle", []),
        ("A-2291", ["zh"]),
        ("2291 订单号", ["zh"]),
        ("", []),
        ("？！", []),
        ('" OR *', []),
    ],
)
def test_words_of_both_languages_are_found(journal: Journal, query: str, found: list[str]) -> None:
    assert [one.conversation for one in journal.search(query)] == found


def test_what_the_agent_sent_is_found_and_what_was_replaced_by_a_later_draft_is_not(journal: Journal) -> None:
    key = journal.ask("new", "Hello", "en")
    journal.end(key, "complete", "zebra")
    journal.end(key, "complete", "giraffe")
    journal.feed_back(key, Feedback("edited", "An elephant; 大象"))
    assert [bool(journal.search(word)) for word in ("zebra", "giraffe", "elephant", "大象")] == [
        False, True, True, True,
    ]  # fmt: skip
    (found,) = journal.search("elephant")
    assert (found.question, found.reply) == ("Hello", "An elephant; 大象")


@settings(deadline=None)
@given(st.text())
def test_no_query_is_an_error(query: str) -> None:
    import sqlite3

    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE words USING fts5 (text)")
    if wanted := expression(query):
        db.execute("SELECT * FROM words WHERE words MATCH ?", (wanted,)).fetchall()
    db.close()
