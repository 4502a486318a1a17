"""The journal under kill -9: while it is written, and while a damaged one is put aside."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from runtime.journal.inbox import Inbox
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import Feedback

KILLS = 40
QUESTION = "多久可以退货？ How long may I return it? "


def in_child(work: Callable[[int], None]) -> tuple[int, int]:
    """Run `work(pipe)` in a child of this process, which has all modules loaded; (its id, the reading end)."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            work(write)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    return child, read


def write_turns(path: Path, pipe: int, begun: int) -> None:
    """Ask, draft, end and judge turns, and tell of each only when the journal has acknowledged it."""
    with Journal(path) as journal:
        for number in range(begun, begun + 10_000):
            key = journal.ask(f"talk-{number % 7}", f"{QUESTION}{number}", "zh")
            os.write(pipe, f"asked {number}\n".encode())
            journal.draft(key, f"大多数商品 {number}")
            journal.end(key, "complete", f"30天 {number}", handoff="legal" if number % 5 == 0 else None)
            os.write(pipe, f"ended {number}\n".encode())
            journal.feed_back(key, Feedback("accepted", agent="ann"))
            Inbox(journal).compose("typed", f"{number}", Inbox(journal).composer("typed").revision)


def test_journal_loses_no_acknowledged_turn_in_forty_kills(
    tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F8: SIGKILL at a random moment of a process that writes, again and again into the same file."""
    path, rng = tmp_path / "journal.sqlite", random.Random(8)
    asked: set[int] = set()
    ended: set[int] = set()
    begun = partial = 0
    for _ in range(KILLS):
        child, pipe = in_child(lambda write, begun=begun: write_turns(path, write, begun))  # type: ignore[misc]
        heard, wanted = b"", rng.randint(1, 12)
        while heard.count(b"\n") < wanted:
            heard += os.read(pipe, 4096)
        select.select([], [], [], rng.uniform(0, 0.004))  # somewhere within the next write
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        while more := os.read(pipe, 4096):
            heard += more
        os.close(pipe)
        # The last line may be cut; what was acknowledged before it is a whole line.
        for line in heard.decode().split("\n")[:-1]:
            said, _, number = line.partition(" ")
            (asked if said == "asked" else ended).add(int(number))
        begun = max(asked) + 2
    with Journal(path) as journal, journal.reading() as db:
        assert journal.recovery is None
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = db.execute("SELECT question, draft, state, ended FROM turn").fetchall()
        there = {int(question.removeprefix(QUESTION)): (draft, state, at) for question, draft, state, at in rows}
        assert asked <= there.keys()
        assert all(there[number][:2] == (f"30天 {number}", "complete") for number in ended)
        cut = {number for number, (_, state, _) in there.items() if state == "partial"}
        assert cut.isdisjoint(ended)
        assert all(state in ("complete", "partial") and at for _, state, at in there.values())
        assert all(there[number][0] in ("", f"大多数商品 {number}") for number in cut)
        # A turn, its place in the outbox and its hand-off are stored together or not at all.
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (len(there),)
        handed = sum(number % 5 == 0 for number in there if there[number][1] == "complete")
        assert db.execute("SELECT count(*) FROM handoff").fetchone() == (handed,)
        partial = len(cut)
    assert partial, "no kill came in the midst of a turn"
    count_trials("F8", KILLS)


def damaged_journal(folder: Path) -> Path:
    """A journal whose header is gone and whose last turns are in its log only."""
    source = folder / "source" / "journal.sqlite"
    path = folder / "home" / "journal.sqlite"
    path.parent.mkdir(parents=True)
    with Journal(source) as journal:
        journal._db.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(6):
            journal.ask("talk", f"{QUESTION}{number}", "zh")
        for end in ("", "-wal"):
            shutil.copyfile(f"{source}{end}", f"{path}{end}")
    broken = bytearray(path.read_bytes())
    broken[:100] = bytes(100)
    path.write_bytes(broken)
    return path


def test_quarantine_cut_by_a_kill_is_finished_at_the_next_start(
    tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F12: SIGKILL before each rename and each removal of the rescue; the turns of the log are there every time."""
    point, killed = 0, True
    while killed:
        path = damaged_journal(tmp_path / str(point))

        def rescue(_: int, path: Path = path, point: int = point) -> None:
            count = iter(range(1000))

            def dying(real: Callable[..., None]) -> Callable[..., None]:
                def call(*arguments: object, **named: object) -> None:
                    if next(count) == point:
                        os.kill(os.getpid(), signal.SIGKILL)
                    real(*arguments, **named)

                return call

            os.replace = dying(os.replace)  # type: ignore[assignment]
            Path.unlink = dying(Path.unlink)  # type: ignore[method-assign, assignment]
            Journal(path).close()

        child, pipe = in_child(rescue)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        os.close(pipe)
        with Journal(path) as journal:
            assert [turn.question for turn in journal.turns("talk")] == [f"{QUESTION}{number}" for number in range(6)]
            journal.ask("talk", "It goes on", "en")
        asides = [one for one in path.parent.glob("*.damaged-*") if not one.name.endswith(("-wal", "-shm"))]
        assert len(asides) == 1
        assert asides[0].with_name(asides[0].name + "-wal").is_file(), "the log lies beside its journal"
        assert not path.with_name("journal.sqlite.quarantine").exists()
        with Journal(path) as journal:
            assert journal.recovery is None
            assert len(journal.turns("talk")) == 7
        point += 1
    assert point > 4
    count_trials("F12", point)
