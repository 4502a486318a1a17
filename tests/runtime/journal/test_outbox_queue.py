"""Turns that do not leave after all: over the cap, or set aside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.journal.journal import Journal
from runtime.journal.outbox import outbox_page, outbox_rows
from runtime.journal.outbox_queue import DropFirst, drop_over_cap, outbox_counts, release_aside, set_aside
from runtime.journal.retention import apply_retention
from runtime.journal.schema import MIGRATIONS, migrate
from runtime.journal.stored_turn import Feedback, TurnKey

DAYS, A_DAY, CAP = 30, 24, 100
"""An offline branch: days, turns a day, turns that may wait."""


def offline(path: Path, first: DropFirst) -> tuple[list[str], int, int]:
    """Thirty days without an uplink, swept four times a day as a server does: (who still waits, dropped, judged)."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    judged = 0
    with Journal(path, now=lambda: now) as journal:
        for day in range(DAYS):
            with journal.transaction():  # one fsync a day
                for number in range(day * A_DAY, (day + 1) * A_DAY):
                    key = journal.ask(f"talk-{number}", f"How long? 多久？ {number}", "en")
                    journal.end(key, "complete", "30 days")
                    if number % 12 == 0:
                        journal.feed_back(key, Feedback("edited", f"31 days {number}"))
                        judged += 1
                    now += timedelta(hours=24 / A_DAY)
                    if number % 6 == 0:
                        drop_over_cap(journal, CAP, first)
                        assert outbox_counts(journal).waiting <= CAP
        drop_over_cap(journal, CAP, first)
        counts = outbox_counts(journal)
        assert counts.waiting == CAP
        names = [key.conversation for key, _ in outbox_rows(journal, public="", limit=-1)]
        return names, counts.dropped, judged


@pytest.mark.parametrize("first", ["unjudged", "oldest", "newest"])
def test_outbox_of_a_branch_that_is_offline_for_a_month_is_capped_as_its_policy_says(
    tmp_path: Path, first: DropFirst, count_trials: Callable[[str, int], None]
) -> None:
    """F10: what goes is counted, and the policy's choice; the turns themselves stay in the journal."""
    waiting, dropped, judged = offline(tmp_path / "journal.sqlite", first)
    turns = DAYS * A_DAY
    assert dropped == turns - CAP
    numbers = sorted(int(name.split("-")[1]) for name in waiting)
    if first == "oldest":
        assert numbers == list(range(turns - CAP, turns))
    elif first == "newest":
        assert numbers[: CAP - 6] == list(range(CAP - 6)), "the newest went, at each sweep"
    else:
        assert sum(number % 12 == 0 for number in numbers) == judged, "every judged turn still waits"
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert len(journal.turns("talk-3")) == 1
    count_trials("F10", turns)


def test_outbox_of_an_offline_branch_lets_go_of_what_it_dropped(tmp_path: Path) -> None:
    """What no longer waits to leave is deleted at its age; what waits is not."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    with Journal(tmp_path / "journal.sqlite", now=lambda: now) as journal:
        for number in range(3):
            journal.end(journal.ask(f"talk-{number}", "How long?", "en"), "complete", "30 days")
            now += timedelta(minutes=1)
        drop_over_cap(journal, 1, "oldest")
        now += timedelta(days=20)
        done = apply_retention(journal, keep_days=10, redact_after_days=0, redactor=lambda: str)
        assert (done.deleted, done.waiting) == (2, 1)
        assert outbox_counts(journal) == (1, 0, 2), "how many were dropped is known although they are gone"


def test_outbox_turn_set_aside_waits_again_when_it_changes_or_is_released(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        keys = [journal.ask(name, "How long?", "en") for name in ("one", "other")]
        for key in keys:
            journal.end(key, "complete", "30 days")
        assert all(set_aside(journal, turn) for turn in journal.waiting(-1))
        assert outbox_counts(journal) == (0, 2, 0)
        journal.feed_back(keys[0], Feedback("accepted"))
        ((key, revision),) = journal.waiting(-1)
        assert (key, revision) == (keys[0], 2)
        assert not set_aside(journal, journal.waiting(-1)[0]._replace(revision=1)), "it has changed since"
        assert release_aside(journal) == 1
        assert outbox_counts(journal) == (2, 0, 0)


def test_outbox_turn_with_a_damaged_text_holds_up_no_other(tmp_path: Path) -> None:
    """Part of F11: a flipped bit makes a text that is no UTF-8."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        for name in ("first", "damaged", "last"):
            journal.end(journal.ask(name, "How long?", "en"), "complete", "30 days")
        with journal.transaction() as db:
            db.execute("UPDATE turn SET question = CAST(x'48ff' AS TEXT) WHERE conversation = 'damaged'")
        page = outbox_page(journal, public="", limit=10)
        assert [row.conversation for row in page.rows] == [journal.alias("first"), journal.alias("last")]
        assert page.unreadable == (f"{journal.alias('damaged')}/1/1",)


def test_journal_of_the_format_before_keeps_its_outbox(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        for name in ("sent", "waits"):
            journal.end(journal.ask(name, "How long?", "en"), "complete", "30 days")
        journal.mark_sent(TurnKey("sent", 1), 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        # As the format before had it.
        db.execute("ALTER TABLE outbox RENAME TO kept")
        db.execute(
            "CREATE TABLE outbox (conversation TEXT NOT NULL, number INTEGER NOT NULL, revision INTEGER NOT NULL,"
            " state TEXT NOT NULL CHECK (state IN ('waiting', 'sent')), changed TEXT NOT NULL,"
            " PRIMARY KEY (conversation, number), FOREIGN KEY (conversation, number)"
            " REFERENCES turn (conversation, number)) STRICT, WITHOUT ROWID"
        )
        db.execute("INSERT INTO outbox SELECT * FROM kept")
        db.execute("DROP TABLE kept")
        migrate(db, len(MIGRATIONS) - 1)
    with Journal(path) as journal:
        assert [turn.key.conversation for turn in journal.waiting(-1)] == ["waits"]
        assert set_aside(journal, journal.waiting(-1)[0])
