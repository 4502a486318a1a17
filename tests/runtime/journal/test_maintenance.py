from __future__ import annotations

import os
import random
import shutil
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InputError, MissingError
from runtime.journal.inbox import ComposerText, ConversationStatus, Inbox
from runtime.journal.journal import Journal
from runtime.journal.maintenance import backup, open_reading
from runtime.journal.recovery import recover_rows
from runtime.journal.stored_turn import Feedback
from runtime.journal.turn_details import TurnDetails

TURNS = 200
PAGE = 4096


def text(number: int) -> str:
    """Some of a line, some of several pages; its mark «number» stands on every page it lies on."""
    return f"第{number}号问题 «{number}»: how long may I return it? " + f"包裹«{number}»" * (number % 7) * 60


def fill(path: Path) -> None:
    with Journal(path) as journal:
        inbox = Inbox(journal)
        for number in range(TURNS):
            key = journal.ask(f"talk-{number // 4}", text(number), "zh")
            handoff = "legal" if number % 10 == 0 else None
            journal.end(key, "complete", f"answer {number}", handoff=handoff, details=TurnDetails(query=f"«{number}»"))
            if number % 3 == 0:
                journal.feed_back(key, Feedback("edited", f"reply {number}", agent="ann", seconds=float(number)))
                inbox.label(key, intent="returns", emotion=None, agent="ann")
                inbox.change(key.conversation, {"notes": f"备注 {number}", "tags": ("vip",)}, "ann")
                inbox.compose(key.conversation, f"typed {number}", inbox.composer(key.conversation).revision)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "journal.sqlite"
    fill(path)
    return path


def questions(journal: Journal) -> set[str]:
    return {row[0] for row in journal._db.execute("SELECT question FROM turn")}


def texts_on(path: Path, pages: set[int]) -> set[str]:
    """Questions whose mark stands on one of these pages."""
    data = path.read_bytes()
    there = b"".join(data[page * PAGE : (page + 1) * PAGE] for page in pages).decode(errors="replace")
    return {text(number) for number in range(TURNS) if f"«{number}»" in there}


def test_every_row_of_a_sound_file_is_read_without_sqlite(whole: Path) -> None:
    read = {row[4] for row in recover_rows(whole) if len(row) == 11}
    assert read == {text(number) for number in range(TURNS)}


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_journal_is_put_aside_and_all_that_can_be_read_goes_on(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    """F12."""
    path = tmp_path / "journal.sqlite"
    data = bytearray(whole.read_bytes())
    rng = random.Random(seed)
    # The header and the top of the tree go first, as where SQLite alone can read nothing any more.
    hit = {0} if seed == 0 else set(rng.sample(range(len(data) // PAGE), 3)) | ({0} if seed % 2 else set())
    for page in hit:
        data[page * PAGE : (page + 1) * PAGE] = rng.randbytes(PAGE)
    path.write_bytes(data)
    with Journal(path) as journal:
        assert journal.recovery
        assert journal.recovery.aside.read_bytes() == bytes(data)
        kept = questions(journal)
        lost = {text(number) for number in range(TURNS)} - kept
        assert kept <= {text(number) for number in range(TURNS)}
        assert lost <= texts_on(whole, hit)
        if seed == 0:
            assert not lost
            assert len(Inbox(journal).handoffs()) == TURNS // 10
            assert journal.recovery.rows["feedback"] == len(range(0, TURNS, 3))
            assert journal.recovery.rows["label"] == len(range(0, TURNS, 3))
            assert Inbox(journal).standing("talk-0") == ConversationStatus(tags=("vip",), notes="备注 3")
            assert Inbox(journal).composer("talk-0") == ComposerText("typed 3", 2)
            turns = journal.turns("talk-0")
            assert [turn.draft for turn in turns] == [f"answer {number}" for number in range(4)]
            assert turns[3].feedback == Feedback("edited", "reply 3", seconds=3.0, agent="ann")
            assert [found.conversation for found in journal.search("第199号")] == ["talk-49"]
        journal.ask("new", "It goes on", "en")
        assert journal._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Journal(path) as again:
        assert again.recovery is None


def test_what_was_committed_to_the_log_only_is_saved_too(tmp_path: Path) -> None:
    """F12."""
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal._db.execute("PRAGMA wal_autocheckpoint = 0")
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(20):
            journal.ask("talk", text(number), "zh")
        copy = tmp_path / "copy" / "journal.sqlite"
        copy.parent.mkdir()
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    broken = bytearray(copy.read_bytes())
    broken[:100] = bytes(100)
    copy.write_bytes(broken)
    log = copy.with_name("journal.sqlite-wal")
    log.write_bytes(log.read_bytes()[:-7])  # the last transaction is torn
    with Journal(copy) as journal:
        saved = [turn.question for turn in journal.turns("talk")]
    assert saved == [text(number) for number in range(19)]


def test_a_file_that_is_no_journal_is_put_aside_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this was a journal once" * 1000)
    with Journal(path) as journal:
        assert journal.recovery
        assert journal.recovery.rows["turn"] == 0
        assert journal.recovery.aside.read_bytes() == b"this was a journal once" * 1000
        assert "0 turns were saved" in str(journal.recovery)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 2**31), st.integers(1, 6))
def test_no_bytes_break_the_reader(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, times: int
) -> None:
    data = bytearray(whole.read_bytes()[: 40 * PAGE])
    for number in range(times):
        start = (at * (number + 1)) % len(data)
        data[start : start + len(noise)] = noise
    path = tmp_path_factory.getbasetemp() / "noise.sqlite"
    path.write_bytes(data)
    assert all(isinstance(row, tuple) for row in recover_rows(path))


def test_a_backup_taken_while_others_write_is_whole_and_owner_only(tmp_path: Path) -> None:
    path, target = tmp_path / "journal.sqlite", tmp_path / "stick" / "copy.sqlite"
    steps = []
    with Journal(path) as journal:
        for number in range(50):
            journal.ask(f"talk-{number}", text(number), "zh")
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                journal.ask("busy", "x", "en")

        writer = threading.Thread(target=write)
        writer.start()
        size = backup(path, target, lambda done, total: steps.append((done, total)))
        stop.set()
        writer.join()
    assert size == target.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o600
    assert steps[-1][0] == steps[-1][1]
    assert [one.name for one in target.parent.iterdir()] == ["copy.sqlite"]
    with Journal(target) as copy:
        assert copy.recovery is None
        assert questions(copy) >= {text(number) for number in range(50)}


def test_without_a_journal_there_is_nothing_to_copy_or_read(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        backup(tmp_path / "journal.sqlite", tmp_path / "copy")
    with pytest.raises(MissingError):
        open_reading(tmp_path / "journal.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
def test_a_backup_never_replaces_the_journal_in_use(part: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.ask("talk", "May I return this?", "en")
        with pytest.raises(InputError, match="journal itself"):
            backup(path, tmp_path / "." / f"journal.sqlite{part}")
        journal.ask("talk", "这个能退吗？", "zh")
    assert backup(path, tmp_path / "copy.sqlite") > 1


def test_a_backup_replaces_no_folder_pipe_socket_or_link(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.ask("talk", "x", "en")
    places = tmp_path / "places"
    places.mkdir()
    (places / "folder").mkdir()
    os.mkfifo(places / "pipe")
    (places / "link").symlink_to("pipe")
    (places / "dangling").symlink_to("nothing")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(places / "socket"))
        before = {path.name: path.lstat().st_mode for path in places.iterdir()}
        for name in before:
            with pytest.raises(InputError, match="is a folder" if name == "folder" else "not a regular file"):
                backup(tmp_path / "journal.sqlite", places / name)
        assert {path.name: path.lstat().st_mode for path in places.iterdir()} == before
    (places / "older").write_text("x")
    assert backup(tmp_path / "journal.sqlite", places / "older") > 1


def test_a_reader_beside_the_writer_cannot_write(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.ask("talk", "x", "en")
        reader = open_reading(journal.path)
        assert reader.execute("SELECT count(*) FROM turn").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM turn")
        reader.close()
