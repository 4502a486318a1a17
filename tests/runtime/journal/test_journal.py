from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import IntegrityError, MissingError
from runtime.journal.inbox import Inbox
from runtime.journal.journal import MIGRATIONS, Journal
from runtime.journal.stored_turn import Feedback, TurnKey
from runtime.journal.turn_details import TurnDetails

HOSTILE = "退货？ NUL \x00, escape \x1b[31m, bidi \u202e, markup [/red], quote ' \" ; DROP TABLE turn; 🙂"


def test_a_question_is_on_disk_when_ask_returns(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        key = journal.ask(None, HOSTILE, "zh")
        with sqlite3.connect(path) as other:
            rows = other.execute("SELECT question, state FROM turn").fetchall()
        other.close()
    assert rows == [(HOSTILE, "open")]
    assert key.number == 1


def test_every_commit_is_fsynced_and_one_connection_writes(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@settings(deadline=None)  # each example waits for the disk
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1))
def test_any_text_is_stored_without_loss(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """S10."""
    with Journal(tmp_path_factory.mktemp("any") / "journal.sqlite") as journal:
        key = journal.ask(None, text, "en")
        journal.draft(key, text)
        (turn,) = journal.turns(key.conversation)
    assert (turn.question, turn.draft, turn.state) == (text, text, "open")


def test_turns_of_a_conversation_are_numbered_and_kept_apart_from_others(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        first = journal.ask(None, "一", "zh")
        other = journal.ask(None, "other", "en")
        second = journal.ask(first.conversation, "二", "zh")
        assert second == TurnKey(first.conversation, 2)
        assert other.conversation != first.conversation
        journal.end(first, "complete", "答", handoff="legal", model="m", details=TurnDetails(citations=("退货#期限",)))
        turns = journal.turns(first.conversation)
        assert [(turn.question, turn.draft, turn.state) for turn in turns] == [
            ("一", "答", "complete"),
            ("二", "", "open"),
        ]
        assert turns[0].details == TurnDetails(citations=("退货#期限",))
        assert turns[0].handoff == "legal"
        assert journal.turns("nobody") == []
        with pytest.raises(MissingError):
            journal.draft(TurnKey("nobody", 1), "x")


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        key = journal.ask(None, "0", "en")

        def write() -> None:
            for _ in range(10):
                journal.ask(key.conversation, "x", "en")

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [turn.key.number for turn in journal.turns(key.conversation)] == list(range(1, 42))


def test_a_draft_cut_by_a_kill_is_kept_and_marked(tmp_path: Path) -> None:
    """F8."""
    path = tmp_path / "journal.sqlite"
    program = (
        "import os, signal, sys; from pathlib import Path; from runtime.journal.journal import Journal\n"
        "j = Journal(Path(sys.argv[1])); k = j.ask('talk', '多久？', 'zh'); j.draft(k, '大多数商')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path])
    assert done.returncode == -signal.SIGKILL
    with Journal(path) as journal:
        (turn,) = journal.turns("talk")
    assert (turn.question, turn.draft, turn.state) == ("多久？", "大多数商", "partial")


def test_all_its_files_are_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    """S13."""
    before = os.umask(0)
    try:
        with Journal(tmp_path / "journal.sqlite") as journal:
            journal.ask(None, "x", "en")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"journal.sqlite": 0o600, "journal.sqlite-wal": 0o600, "journal.sqlite-shm": 0o600}


def test_a_journal_from_the_future_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="newer"):
        Journal(path)
    assert path.read_bytes() == before


def test_migrations_run_once_each_and_say_why(tmp_path: Path) -> None:
    assert all(migration.why.endswith(".") for migration in MIGRATIONS)
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.ask("talk", "x", "en")
    with Journal(path) as journal:
        assert len(journal.turns("talk")) == 1
        assert journal._db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_journal_of_the_first_format_goes_on_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    db = sqlite3.connect(path)
    db.executescript(MIGRATIONS[0].sql + "PRAGMA user_version = 1;")
    db.execute("INSERT INTO conversation VALUES ('talk', '2026-01-01T00:00:00.000+00:00')")
    db.execute(
        "INSERT INTO turn VALUES ('talk', 1, '2026-01-01', 'zh', '多久可以退货？', '30天', 'complete', 'legal', 'm', '{}', '2026-01-01')"  # noqa: E501
    )
    db.commit()
    db.close()
    with Journal(path) as journal:
        assert [turn.draft for turn in journal.turns("talk")] == ["30天"]
        assert [found.turn for found in journal.search("退货")] == [1]
        assert [one.reason for one in Inbox(journal).handoffs()] == ["legal"]
        assert journal.waiting(10) == [(TurnKey("talk", 1), 1)]


def test_feedback_adds_to_what_was_said_before_and_puts_the_turn_back_into_the_outbox(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        key = journal.ask(None, "How long?", "en")
        journal.end(key, "complete", "30 days")
        ((_, revision),) = journal.waiting(10)
        journal.mark_sent(key, revision)
        assert journal.waiting(10) == []
        journal.feed_back(key, Feedback("edited", "30 days from delivery", seconds=2.5, agent="ann"))
        journal.feed_back(key, Feedback(rating=5, agent="bo"))
        (turn,) = journal.turns(key.conversation)
        assert turn.feedback == Feedback("edited", "30 days from delivery", None, 5, 2.5, "bo")
        assert journal.waiting(10) == [(key, 3)]
        journal.mark_sent(key, 2)
        assert journal.waiting(10) == [(key, 3)], "what changed while it was sent keeps waiting"
        with pytest.raises(MissingError):
            journal.feed_back(TurnKey("nobody", 1), Feedback("accepted"))


def test_a_turn_and_its_outbox_row_and_hand_off_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        key = journal.ask("talk", "See you in court", "en")
        journal._db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT raise(ABORT, 'full'); END")
        with pytest.raises(sqlite3.DatabaseError, match="full"):
            journal.end(key, "complete", "A colleague", handoff="legal")
        (turn,) = journal.turns("talk")
        assert (turn.state, turn.draft, Inbox(journal).handoffs()) == ("open", "", [])
        journal._db.execute("DROP TRIGGER full")
        journal.end(key, "complete", "A colleague", handoff="legal")
        assert journal.waiting(10) == [(key, 1)]
        assert [(one.reason, one.state) for one in Inbox(journal).handoffs()] == [("legal", "open")]
        Inbox(journal).change_handoff(key, "taken", "ann")
        assert Inbox(journal).handoffs() == []
        assert [one.agent for one in Inbox(journal).handoffs(state="taken")] == ["ann"]
        with pytest.raises(MissingError):
            Inbox(journal).change_handoff(TurnKey("talk", 2), "taken", "ann")


def test_conversations_are_listed_newest_first(tmp_path: Path) -> None:
    times = iter(f"2026-01-01T00:00:{second:02}+00:00" for second in range(60))
    with Journal(tmp_path / "journal.sqlite", now=lambda: datetime.fromisoformat(next(times))) as journal:
        for name, question in (("a", "first"), ("b", "第二"), ("a", "third")):
            journal.ask(name, question, "en")
        listed = Inbox(journal).conversations()
    assert [(one.conversation, one.turns, one.newest.question) for one in listed] == [
        ("a", 2, "third"),
        ("b", 1, "第二"),
    ]
