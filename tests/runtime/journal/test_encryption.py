"""Journals encrypted at rest."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.base.home import lock_home
from runtime.base.settings import Settings, load_settings
from runtime.cli.journal import app
from runtime.desk.open_desk import open_desk
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError, UsageError
from runtime.events import AskRequest
from runtime.journal.encrypt import delete_plain_copies, encrypt_journal
from runtime.journal.encryption import make_key, read_key
from runtime.journal.inbox import Inbox
from runtime.journal.journal import Journal
from runtime.journal.maintenance import backup, open_reading
from runtime.journal.stored_turn import Feedback
from runtime.journal.turn_details import TurnDetails
from tests.support.planted import find_planted

pytest.importorskip("sqlcipher3", reason="./build.sh setup")
KEY = "0123456789abcdef" * 4
OTHER = "f" * 64
PLANTED = ("Wetherby", "wetherby@example.com", "王小明", "13912345678")
SAID = f"I am {PLANTED[0]}, {PLANTED[1]}, 我叫{PLANTED[2]}，电话{PLANTED[3]}"


def fill(journal: Journal, count: int = 1) -> None:
    inbox = Inbox(journal)
    for number in range(count):
        key = journal.ask(f"talk-{number}", SAID + str(number), "zh")
        journal.end(key, "complete", SAID, handoff="legal", details=TurnDetails(query=SAID))
        journal.feed_back(key, Feedback("edited", SAID, SAID, 5, 1.0, "ann"))
        inbox.change(key.conversation, {"notes": SAID, "tags": (SAID[:60],)}, "ann")
        inbox.compose(key.conversation, SAID, 0)


def in_clear(folder: Path) -> list[str]:
    """Planted values in any file, of any name."""
    return find_planted(folder, PLANTED)


def test_no_file_of_an_encrypted_journal_holds_a_word_in_clear_and_everything_works(tmp_path: Path) -> None:
    """Part of S11: the journal, its log and its search index, while open and after."""
    path = tmp_path / "journal.sqlite"
    with Journal(path, key=KEY) as journal:
        fill(journal)
        assert [found.question for found in journal.search("王小明")] == [SAID + "0"]
        assert in_clear(tmp_path) == []
    with Journal(path, key=KEY) as journal:
        assert journal.recovery is None
        assert journal.turns("talk-0")[0].reply == SAID
    backup(path, tmp_path / "copy.sqlite", key=KEY)
    with closing(open_reading(tmp_path / "copy.sqlite", KEY)) as db:
        assert db.execute("SELECT question FROM turn").fetchone() == (SAID + "0",)
    assert in_clear(tmp_path) == []


@pytest.mark.parametrize(
    ("begun", "opened", "error", "said"),
    [
        (KEY, None, MissingError, "is encrypted"),
        (KEY, OTHER, IntegrityError, "another key"),
        (None, KEY, InputError, "not encrypted yet"),
    ],
)
def test_a_wrong_key_is_refused_and_nothing_is_taken_for_damaged(
    tmp_path: Path, begun: str | None, opened: str | None, error: type[EdgedeskError], said: str
) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, key=begun) as journal:
        fill(journal)
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(error, match=said):
        Journal(path, key=opened)
    with pytest.raises(error):
        open_reading(path, opened)
    assert sorted(each.name for each in tmp_path.iterdir()) == before
    with Journal(path, key=begun) as journal:
        assert len(journal.turns("talk-0")) == 1


@pytest.mark.parametrize("memory", ["console.json", "console.sqlite"])
def test_encrypting_deletes_copies_in_clear_and_spares_what_a_console_remembers(tmp_path: Path, memory: str) -> None:
    names = ["clipboard.txt", "console.damaged", "exports/talk.md", "journal.sqlite.damaged-20260101T000000"]
    (tmp_path / "exports").mkdir()
    for name in [*names, memory]:
        (tmp_path / name).write_text("verdicts and words")
    assert sorted(delete_plain_copies(tmp_path)) == names
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [memory]


def test_a_journal_is_encrypted_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        fill(journal, 3)
        before = [journal.turns(f"talk-{number}") for number in range(3)]
        standing = Inbox(journal).standing("talk-1")
    # As a crash would leave it just before the files change places.
    (tmp_path / "journal.sqlite.sealed").write_text("x")
    assert encrypt_journal(path, KEY) == 3
    with Journal(path, key=KEY) as journal:
        assert [journal.turns(f"talk-{number}") for number in range(3)] == before
        assert Inbox(journal).standing("talk-1") == standing
        assert len(journal.search("王小明")) == 3
        assert len(journal.waiting(-1)) == 3
    assert in_clear(tmp_path) == []


def test_a_damaged_encrypted_journal_is_put_aside_and_what_can_be_reached_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, key=KEY) as journal:
        fill(journal, 60)
    data = bytearray(path.read_bytes())
    page = len(data) // 4096 // 2
    data[page * 4096 : (page + 1) * 4096] = random.Random(1).randbytes(4096)
    path.write_bytes(data)
    with Journal(path, key=KEY) as journal:
        assert journal.recovery is not None
        assert journal.recovery.aside.read_bytes() == bytes(data)
        assert journal.recovery.rows["turn"] >= 30
        journal.ask("new", "It goes on", "en")
    assert in_clear(tmp_path) == []


def test_the_branch_reads_its_key_from_elsewhere(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of S11: every file of a branch whose journal is encrypted."""
    home = make_home(scripted_gguf)
    key = tmp_path / "stick" / "branch.key"
    key.parent.mkdir()
    with lock_home(home, "test"), open_desk(home, Settings(threads=1)) as desk:
        list(desk.ask(AskRequest(question=SAID, conversation="before"), threading.Event()))
    for name in ("clipboard.txt", "exports/talk.md", "journal.sqlite.damaged-1", "journal.sqlite.damaged-1-wal"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(SAID, encoding="utf-8")
    done = CliRunner().invoke(app, ["encrypt", "--key-file", str(key), "--home", str(home), "--json"])
    assert json.loads(done.stdout) == {"turns": 1}, done.output
    monkeypatch.setenv("EDGEDESK_JOURNAL_KEY", str(key))
    with lock_home(home, "test"), open_desk(home, load_settings(home, threads=1)) as desk:
        list(desk.ask(AskRequest(question=SAID, conversation="after"), threading.Event()))
        assert in_clear(home) == []
        assert len(desk.journal.search("Wetherby")) == 2
    assert in_clear(home) == []
    found = CliRunner().invoke(app, ["search", "王小明", "--home", str(home), "--json"])
    assert len(json.loads(found.stdout)["turns"]) == 2


def test_a_key_beside_the_journal_or_open_to_others_is_refused(tmp_path: Path) -> None:
    home, stick = tmp_path / "home", tmp_path / "stick"
    home.mkdir()
    stick.mkdir()
    make_key(home / "key")
    with pytest.raises(UsageError, match="beside"):
        read_key(home / "key", home)
    make_key(stick / "key")
    assert len(read_key(stick / "key", home) or "") == 64
    with pytest.raises(FileExistsError):
        make_key(stick / "key")
    (stick / "key").chmod(0o644)
    with pytest.raises(UsageError, match="others may read"):
        read_key(stick / "key", home)
    (stick / "bad").write_text("hello")
    (stick / "bad").chmod(0o600)
    with pytest.raises(InputError, match="not a key"):
        read_key(stick / "bad", home)
    with pytest.raises(MissingError, match="not there"):
        read_key(stick / "gone", home)
    assert read_key(None, home) is None
