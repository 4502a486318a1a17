"""What a console remembers: whole or set aside, owner-only, and never in clear beside an encrypted journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.journal.retention import forget_files
from tui.services.private_files import PrivateFiles, Protection, find_protection
from tui.services.session_file import FILE_NAME, SEALED_NAME, UNSAVED_NAME, SessionFile
from tui.state import ConsoleTurn, Mode, Restored, Session, State, Thread, recall, remember

KEY = "5a" * 32
PLANTED = "Anna Kowalski 0612345678"


def _state() -> State:
    pending = ConsoleTurn(
        number=1, question="问题", asked_at=0.0, stored=3, verdict="edited", reply=PLANTED, saved=False
    )
    thread = Thread(7, "c1", (pending,), composer=PLANTED, mode=Mode.REPLY, stash="退货\n运费")
    return replace(State(), threads=(thread,), open=7)


def test_session_survives_the_file() -> None:
    state = _state()
    (thread,) = recall(remember(state.threads, state.open), 1)
    assert (thread.composer, thread.mode, thread.stash) == (PLANTED, Mode.REPLY, "退货\n运费")
    assert [(turn.reply, turn.saved, turn.stored) for turn in thread.turns] == [(PLANTED, False, 3)]


def test_session_file_is_owner_only_and_a_damaged_one_is_set_aside(tmp_path: Path) -> None:
    session, path = SessionFile(tmp_path, Protection()), tmp_path / FILE_NAME
    assert session.read() is None
    session.write(_state())
    assert isinstance(session.read(), Restored)
    assert path.stat().st_mode & 0o777 == 0o600
    for damaged in ('{"format": 1, "threads"', "[]", '{"format": 1, "threads": [{"key": "x"}]}', "\0"):
        path.write_text(damaged)
        assert session.read() is None
        assert not path.exists()
        assert (tmp_path / "console.damaged").exists()


def test_session_beside_an_encrypted_journal_is_read_with_its_key_alone(
    tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S11: 0 of the planted words in clear in any file that the console writes beside an encrypted journal."""
    SessionFile(tmp_path, Protection()).write(_state())  # From before the journal was encrypted.
    sealed = SessionFile(tmp_path, Protection(encrypted=True, key=KEY))
    assert sealed.read() == Restored(remember(_state().threads, 7)), "what was in clear is taken up once"
    sealed.write(_state())
    assert sealed.read() == Restored(remember(_state().threads, 7))
    files = PrivateFiles(tmp_path, Protection(encrypted=True, key=KEY))
    for write in (lambda: files.keep_clipboard(PLANTED), lambda: files.export("c1.md", PLANTED)):
        with pytest.raises(Exception, match="encrypted"):
            write()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in written) == [SEALED_NAME, UNSAVED_NAME]
    for path in written:
        data = path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
        for encoding in ("utf-8", "utf-16-le", "unicode_escape"):
            assert not any(word.encode(encoding) in data for word in (*PLANTED.split(), "退货", "运费"))
    count_trials("S11", 15)


def test_session_beside_an_encrypted_journal_without_its_key_is_not_written(tmp_path: Path) -> None:
    session = SessionFile(tmp_path, Protection(encrypted=True))
    session.write(_state())
    assert list(tmp_path.iterdir()) == []
    assert session.read() is None


def test_session_with_verdicts_on_their_way_is_kept_however_old(tmp_path: Path) -> None:
    later = datetime.now(UTC) + timedelta(days=40)
    for protection in (Protection(), Protection(encrypted=True, key=KEY)):
        session = SessionFile(tmp_path, protection)
        session.write(_state())
        assert forget_files(tmp_path, later, keep_days=30, redact_after_days=0) == 0
        session.write(replace(State(), threads=(Thread(1, "c1", composer=PLANTED),)))
        assert forget_files(tmp_path, later, keep_days=30, redact_after_days=0) == 1


def test_session_sealed_with_another_key_is_set_aside(tmp_path: Path) -> None:
    SessionFile(tmp_path, Protection(encrypted=True, key=KEY)).write(_state())
    assert SessionFile(tmp_path, Protection(encrypted=True, key="00" * 32)).read() is None
    assert (tmp_path / "console.damaged").exists()


def test_protection_is_found_by_the_mark_or_the_setting(tmp_path: Path) -> None:
    home, key = tmp_path / "home", tmp_path / "key"
    home.mkdir()
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    assert find_protection(home) == Protection()
    (home / "settings.toml").write_text(f'journal_key = "{key}"\n')
    assert find_protection(home) == Protection(encrypted=True, key=KEY)
    (home / "journal.sqlite.sealed").write_text("x")
    key.unlink()
    assert find_protection(home) == Protection(encrypted=True, key=None)


def test_private_files_are_owner_only(tmp_path: Path) -> None:
    files = PrivateFiles(tmp_path / "home", Protection())
    written = [files.keep_clipboard("退货"), files.export("c1.md", "退货")]
    for path in (*written, written[1].parent):
        assert path.stat().st_mode & 0o077 == 0


def test_session_of_an_older_console_is_read() -> None:
    old = {"open": 1, "threads": [{"key": 1, "conversation": None, "composer": "a", "mode": "customer", "stash": ""}]}
    assert Session.model_validate(old).threads[0].composer == "a"
