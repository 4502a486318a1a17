"""The journal on disks that are full, read-only or broken."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import BusyError, EdgedeskError, ExitCode, IntegrityError, SpaceError, UnavailableError
from runtime.journal.journal import Journal
from runtime.journal.sqlite_errors import translated_errors


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        (sqlite3.SQLITE_FULL, SpaceError),
        (sqlite3.SQLITE_CORRUPT, IntegrityError),
        (sqlite3.SQLITE_IOERR_FSYNC, IntegrityError),
        (sqlite3.SQLITE_IOERR_READ, IntegrityError),
        (sqlite3.SQLITE_READONLY_DIRECTORY, UnavailableError),
        (sqlite3.SQLITE_READONLY, UnavailableError),
        (sqlite3.SQLITE_CANTOPEN, UnavailableError),
        (sqlite3.SQLITE_PERM, UnavailableError),
        (sqlite3.SQLITE_PROTOCOL, UnavailableError),
        (sqlite3.SQLITE_BUSY, BusyError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, BusyError),
    ],
)
def test_sqlite_error_has_a_sentence_and_an_exit_code(tmp_path: Path, code: int, ours: type[EdgedeskError]) -> None:
    error = sqlite3.OperationalError("from SQLite")
    error.sqlite_errorcode = code
    with pytest.raises(ours) as caught, translated_errors(tmp_path / "journal.sqlite"):
        raise error
    assert caught.value.hint
    assert caught.value.exit_code is not ExitCode.FAILED


def test_disk_that_fails_stops_the_journal_until_it_is_opened_again(tmp_path: Path) -> None:
    """Part of F4: after a failed fsync nothing more is reported as stored."""
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.ask("talk", "first", "en")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        with pytest.raises(IntegrityError, match="fails"), journal.transaction():
            raise error
        for _ in range(2):
            with pytest.raises(IntegrityError, match="fails"):
                journal.ask("talk", "second", "en")
    with Journal(path) as journal:
        assert [turn.question for turn in journal.turns("talk")] == ["first"]
        journal.ask("talk", "third", "en")


ASK = """
import sys
from pathlib import Path
from runtime.errors import IntegrityError
from runtime.journal.journal import Journal

refused = 0
with Journal(Path(sys.argv[1])) as journal:
    for number in range(40):
        try:
            journal.ask("talk", str(number), "en")
            print("stored", number, refused, flush=True)
        except IntegrityError:
            refused += 1
            print("refused", number, flush=True)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="apt install strace")
@pytest.mark.parametrize("at", [25, 40])
def test_fsync_that_fails_is_never_reported_as_stored(
    tmp_path: Path, at: int, count_trials: Callable[[str, int], None]
) -> None:
    """F4: EIO of the kernel at one fdatasync; what was acknowledged before is there, and nothing comes after."""
    path = tmp_path / "journal.sqlite"
    inject = f"inject=fdatasync,fsync:error=EIO:when={at}"
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject]
    done = subprocess.run([*strace, sys.executable, "-c", ASK, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    stored = [int(line[1]) for line in said if line[0] == "stored"]
    assert [line[0] for line in said] == ["stored"] * len(stored) + ["refused"] * (40 - len(stored))
    assert 0 < len(stored) < 40
    with Journal(path) as journal:
        kept = [int(turn.question) for turn in journal.turns("talk")]
        assert kept[: len(stored)] == stored
        journal.ask("talk", "after", "en")
    count_trials("F4", 1)


FILL = """
import sys
from pathlib import Path
from runtime.errors import SpaceError
from runtime.journal.journal import Journal

with Journal(Path(sys.argv[1])) as journal:
    for number in range(100_000):
        try:
            key = journal.ask("talk", f"{number} " + "货" * 500, "zh")
            print("stored", number, flush=True)
        except SpaceError as error:
            print("full", int(error.exit_code), flush=True)
            sys.stdin.readline()  # space is freed here
            print("after", journal.ask("talk", "once more", "en").number, flush=True)
            break
"""


def limited() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))


def test_full_disk_is_said_and_after_space_is_freed_the_next_question_is_stored(tmp_path: Path) -> None:
    """Part of F3: the journal, at a size that the kernel refuses to exceed."""
    path = tmp_path / "journal.sqlite"
    child = subprocess.Popen(
        [sys.executable, "-c", FILL, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=limited,
    )  # fmt: skip
    assert child.stdin
    assert child.stdout
    said = []
    for line in child.stdout:
        said.append(line.split())
        if said[-1][0] == "full":
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            child.stdin.write("\n")
            child.stdin.flush()
    child.stdin.close()
    child.stdout.close()
    assert child.wait(60) == 0
    stored = [int(line[1]) for line in said if line[0] == "stored"]
    assert stored
    assert said[len(stored)] == ["full", str(int(ExitCode.NO_SPACE))]
    assert said[-1] == ["after", str(len(stored) + 1)]
    with Journal(path) as journal:
        assert journal.recovery is None
        assert [int(turn.question.split()[0]) for turn in journal.turns("talk")[:-1]] == stored
