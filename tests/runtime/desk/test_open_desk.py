"""Opening the desk of a home."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.events import AskRequest, Done
from runtime.journal.journal import Journal


def test_retention_runs_beside_the_first_questions_and_takes_copies_along(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    policy = home / "current" / "policy.toml"
    policy.write_text(policy.read_text(encoding="utf-8") + "\n[journal]\nredact_after_days = 30\n", encoding="utf-8")
    (home / "clipboard.txt").write_text("Ms Wetherby", encoding="utf-8")
    long_ago = datetime.now(UTC) - timedelta(days=50)
    with Journal(home / "journal.sqlite", now=lambda: long_ago) as journal:
        journal.end(journal.ask("old", "我叫王小明，电话13912345678", "zh"), "complete", "王小明您好")
    with lock_home(home, "test"), open_desk(home, Settings(threads=1)) as desk:
        question = AskRequest(question="How long can I return an item after delivery?")
        assert isinstance(list(desk.ask(question, threading.Event()))[-1], Done)
        for thread in threading.enumerate():
            if thread.name == "retention":
                thread.join()
        (turn,) = desk.journal.turns("old")
    assert (turn.question, turn.draft) == ("我叫<NAME_1>，电话<PHONE_1>", "<NAME_1>您好")
    assert (home / "clipboard.txt").is_file(), "it is younger than 30 days"
    assert (home / "clipboard.txt").stat().st_mode & 0o777 == 0o600
