"""What is kept of a turn besides its texts, and what was sent to the customer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from runtime.journal.journal import Journal
from runtime.journal.queries import experiment_outcomes
from runtime.journal.stored_turn import Feedback
from runtime.journal.turn_details import FoundSection, TurnDetails

DETAILS = TurnDetails(
    intent="退货",
    query="多久可以退货？",
    entities={"order": "NL-1"},
    found=(FoundSection(ref="returns#long", score=0.5, similarity=0.8, shown=True),),
    citations=("returns#long",),
    ttft_s=0.0,
)


def test_turn_details_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert TurnDetails.from_json(DETAILS.to_json()) == DETAILS
    with Journal(tmp_path / "journal.sqlite") as journal:
        key = journal.ask("talk", "多久可以退货？", "zh")
        journal.end(key, "complete", "30天", details=DETAILS)
        assert journal.turns("talk")[0].details == DETAILS
        assert journal.count_citations() == {"returns#long": 1}


def test_turn_details_of_another_version_are_read_without_what_is_unknown() -> None:
    assert TurnDetails.from_json('{"decided": "model", "mood_of_the_moon": 1}') == TurnDetails(decided="model")


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '{"found": 3}'])
def test_turn_with_unreadable_details_keeps_its_texts_and_says_so(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.end(journal.ask("talk", "How long?", "en"), "complete", "30 days")
    with sqlite3.connect(path) as other:
        other.execute("UPDATE turn SET details = ?", (damaged,))
    other.close()
    with Journal(path) as journal:
        (turn,) = journal.turns("talk")
        assert not journal.count_citations()
        with journal.reading() as db:
            assert experiment_outcomes(db, "softer") == []
    assert (turn.question, turn.draft) == ("How long?", "30 days")
    assert "cannot be read" in turn.details.error


@pytest.mark.parametrize(
    ("feedback", "sent"),
    [
        (None, None),
        (Feedback("accepted"), "draft"),
        (Feedback("edited", "better"), "better"),
        (Feedback("rejected"), None),
        (Feedback("rejected", "what would have been right"), None),
        (Feedback(reply="写好的回复"), "写好的回复"),
        (Feedback(rating=5), None),
    ],
)
def test_reply_is_what_was_sent_and_only_that(tmp_path: Path, feedback: Feedback | None, sent: str | None) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        key = journal.ask("talk", "How long?", "en")
        journal.end(key, "complete", "draft")
        if feedback:
            journal.feed_back(key, feedback)
        (turn,) = journal.turns("talk")
        assert turn.reply == sent
