from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import IntegrityError, MissingError
from runtime.journal import MIGRATIONS, Journal, TurnKey

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
        journal.end(first, "complete", "答", handoff="legal", model="m", details={"citations": ["退货#期限"]})
        turns = journal.turns(first.conversation)
        assert [(turn.question, turn.draft, turn.state) for turn in turns] == [
            ("一", "答", "complete"),
            ("二", "", "open"),
        ]
        assert turns[0].details == {"citations": ["退货#期限"]}
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
        "import os, signal, sys; from pathlib import Path; from runtime.journal import Journal\n"
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


def test_a_journal_from_the_future_or_a_damaged_one_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(IntegrityError, match="newer"):
        Journal(path)
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"this was a journal once" * 100)
    with pytest.raises(IntegrityError, match="damaged"):
        Journal(damaged)
    assert damaged.read_bytes() == b"this was a journal once" * 100


def test_migrations_run_once_each_and_say_why(tmp_path: Path) -> None:
    assert all(migration.why.endswith(".") for migration in MIGRATIONS)
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.ask("talk", "x", "en")
    with Journal(path) as journal:
        assert len(journal.turns("talk")) == 1
        assert journal._db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
