"""Forgetting in time: what goes, what stays, and what no clock can undo."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.journal.clock import MAX_AHEAD
from runtime.journal.inbox import ComposerText, Inbox
from runtime.journal.journal import Journal
from runtime.journal.maintenance import open_reading
from runtime.journal.outbox import outbox_rows
from runtime.journal.retention import RetentionReport, apply_retention, forget_files
from runtime.journal.stored_turn import Feedback, TurnKey
from runtime.journal.turn_details import TurnDetails
from runtime.text.redaction import Redactor
from tests.support.planted import find_planted, spellings

CARD = "4111 1111 1111 1111"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += timedelta(days=days)


def redactor() -> Callable[[str], str]:
    return Redactor().redact


def sweep(journal: Journal, **more: bool) -> RetentionReport:
    return apply_retention(journal, keep_days=90, redact_after_days=30, redactor=redactor, **more)


def store(journal: Journal, name: str, *, sent: bool) -> TurnKey:
    key = journal.ask(name, f"My card is {CARD}, 我的卡号是{CARD}", "en")
    journal.end(key, "complete", "Thank you.")
    if sent:
        journal.mark_sent(key, 1)
    return key


def test_retention_redacts_what_is_old_and_then_deletes_it_to_the_last_byte(tmp_path: Path) -> None:
    """Part of S11: retention."""
    path = tmp_path / "journal.sqlite"
    today = datetime(2026, 6, 1, tzinfo=UTC)
    now = today - timedelta(days=100)
    with Journal(path, now=lambda: now) as journal:
        ancient = journal.ask("ancient", "I am Ms Wetherby, call 030 5551 2345, wetherby@example.com", "en")
        journal.end(ancient, "complete", "Thank you, Ms Wetherby.")
        journal.mark_sent(ancient, 1)
        now = today - timedelta(days=40)
        old = journal.ask("old", "我叫王小明，电话13912345678", "zh")
        journal.end(old, "complete", "王小明您好")
        journal.feed_back(old, Feedback("edited", "王小明，您好！13912345678", agent="ann"))
        now = today - timedelta(days=1)
        journal.ask("new", "My mail is new@example.com", "en")
        now = today
        done = apply_retention(journal, keep_days=90, redact_after_days=30, redactor=redactor)
        assert (done.deleted, done.waiting, done.redacted) == (1, 0, 1)
        assert journal.turns("ancient") == []
        (turn,) = journal.turns("old")
        assert (turn.question, turn.draft) == ("我叫<NAME_1>，电话<PHONE_1>", "<NAME_1>您好")
        assert turn.feedback
        assert turn.feedback.reply == "<NAME_1>，您好！<PHONE_1>"
        assert journal.search("13912345678") == []
        assert journal.turns("new")[0].question == "My mail is new@example.com"
        files = b"".join(one.read_bytes() for one in tmp_path.iterdir() if not one.name.endswith("-shm"))
        for planted in ("wetherby", "Wetherby", "5551", "13912345678", "王小", "小明"):
            assert planted.encode() not in files, planted
        again = apply_retention(journal, keep_days=90, redact_after_days=30, redactor=redactor)
        assert again == RetentionReport()
        never = apply_retention(journal, keep_days=0, redact_after_days=0, redactor=redactor)
        assert never == RetentionReport()
        assert journal.waiting(10) == [(TurnKey("old", 1), 2)]


def test_retention_takes_notes_and_typed_text_along(tmp_path: Path) -> None:
    """Part of S11."""
    clock = Clock()
    planted = "wetherby@example.com"
    path = tmp_path / "kept.sqlite"
    with Journal(path, now=clock) as journal:
        inbox = Inbox(journal)
        for name in ("old", "older"):
            key = journal.ask(name, f"Write to {planted}", "en")
            journal.end(key, "complete", "yes", details=TurnDetails(query=f"{planted}?", entities={"order": planted}))
            inbox.change(name, {"notes": planted, "summary": planted, "tags": (planted,)}, "ann")
            inbox.compose(name, planted, 0)
            if name == "old":
                journal.mark_sent(key, 1)
            clock.now += timedelta(days=10)
        done = apply_retention(journal, keep_days=15, redact_after_days=5, redactor=redactor)
        assert (done.deleted, done.redacted) == (1, 1)
        assert inbox.composer("old") == ComposerText()
        assert inbox.standing("older").tags == ("<EMAIL_1>",)
        assert journal.turns("older")[0].details.query == "<EMAIL_1>?"
    assert planted.encode() not in path.read_bytes()


@pytest.mark.parametrize("years", [-30, -10, -1, 1, 10, 30])
def test_retention_forgets_nothing_while_the_clock_is_wrong_nor_when_it_is_mended(
    tmp_path: Path, years: int, count_trials: Callable[[str, int], None]
) -> None:
    """F13: the clock jumps at a start, while the server runs, and back again."""
    clock, path, forgotten = Clock(), tmp_path / "journal.sqlite", []
    with Journal(path, now=clock) as journal:
        for number in range(4):
            store(journal, f"before-{number}", sent=number % 2 == 0)
    clock.pass_days(365 * years)
    with Journal(path, now=clock) as journal:
        store(journal, "meanwhile", sent=True)
        forgotten.append(sweep(journal))
    with Journal(path, now=clock) as journal:  # a second start does not make it right
        forgotten.append(sweep(journal))
        clock.pass_days(-365 * years + 1)
        store(journal, "mended", sent=True)
        forgotten.append(sweep(journal))
        newest = [one.conversation for one in Inbox(journal).conversations(limit=2)]
        kept = [len(journal.turns(name)) for name in ("before-0", "before-1", "meanwhile", "mended")]
    assert [bool(one.paused) for one in forgotten] == [True, True, False]
    assert sum(one.deleted + one.redacted for one in forgotten) == 0
    assert kept == [1, 1, 1, 1]
    assert newest == ["mended", "meanwhile"], "new conversations come first whatever the clock says"
    count_trials("F13", len(forgotten))


def test_retention_goes_on_after_the_clock_was_mended(tmp_path: Path) -> None:
    clock = Clock()
    with Journal(tmp_path / "journal.sqlite", now=clock) as journal:
        clock.pass_days(3650)
        store(journal, "ahead", sent=True)
        clock.pass_days(-3650)
        assert sweep(journal) == RetentionReport()
        for _ in range(10):
            clock.pass_days(10)
            last = sweep(journal)
        assert (last.deleted, journal.turns("ahead")) == (1, [])


def test_retention_after_a_long_pause_waits_for_a_persons_word(tmp_path: Path) -> None:
    clock = Clock()
    with Journal(tmp_path / "journal.sqlite", now=clock) as journal:
        store(journal, "old", sent=True)
        clock.pass_days(MAX_AHEAD.days + 1)
        assert "181 days after" in sweep(journal).paused
        assert sweep(journal, clock_is_right=True).deleted == 1
        assert not sweep(journal).paused


def test_retention_redacts_what_waits_to_leave_and_deletes_it_only_when_asked(tmp_path: Path) -> None:
    clock = Clock()
    with Journal(tmp_path / "journal.sqlite", now=clock) as journal:
        store(journal, "talk", sent=False)
        clock.pass_days(100)
        done = sweep(journal)
        assert (done.deleted, done.redacted, done.waiting) == (0, 1, 1)
        ((_, row),) = outbox_rows(journal, public="", limit=10)
        assert CARD not in row.question
        assert CARD not in journal.turns("talk")[0].question
        gone = sweep(journal, unsent=True)
        assert (gone.deleted, gone.unsent, journal.waiting(-1)) == (1, 1, [])


def test_retention_reaches_what_was_typed_for_a_conversation_that_never_began(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "journal.sqlite"
    with Journal(path, now=clock) as journal:
        inbox = Inbox(journal)
        inbox.compose("never", f"Card {CARD}", 0)
        clock.pass_days(40)
        sweep(journal)
        assert inbox.composer("never") == ComposerText("Card <CARD_1>", 1)
        assert find_planted(tmp_path, [CARD]) == []
        clock.pass_days(60)
        sweep(journal)
        assert inbox.composer("never") == ComposerText()


def test_retention_keeps_at_the_log_until_no_reader_holds_it(tmp_path: Path) -> None:
    """Part of S11: a backup reads while a conversation is deleted; its words go with the next commit after it."""
    clock = Clock()
    path = tmp_path / "journal.sqlite"

    def in_files() -> bool:
        return any(CARD.encode() in one.read_bytes() for one in tmp_path.iterdir())

    with Journal(path, now=clock) as journal:
        store(journal, "old", sent=True)
        reader = open_reading(path)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM turn").fetchone() == (1,)
        clock.pass_days(100)
        done = sweep(journal)
        assert (done.deleted, done.overwritten) == (1, False)
        assert in_files()
        reader.close()
        journal.ask("new", "hello", "en")
        assert not in_files()


def test_retention_can_be_stopped_and_run_again(tmp_path: Path) -> None:
    clock, stop = Clock(), threading.Event()
    with Journal(tmp_path / "journal.sqlite", now=clock) as journal:
        for number in range(5):
            store(journal, f"old-{number}", sent=True)
        clock.pass_days(50)

        def once() -> Callable[[str], str]:
            stop.set()
            return redactor()

        cut = apply_retention(journal, keep_days=90, redact_after_days=30, redactor=once, stop=stop)
        assert cut.redacted == 1
        assert sweep(journal).redacted == 4


def test_redaction_holds_no_lock_while_a_question_comes(tmp_path: Path) -> None:
    clock = Clock()
    asked = threading.Event()
    with Journal(tmp_path / "journal.sqlite", now=clock) as journal:
        store(journal, "old", sent=True)
        clock.pass_days(50)

        def slow() -> Callable[[str], str]:
            def redact(text: str) -> str:
                if not asked.is_set():
                    thread = threading.Thread(target=lambda: (journal.ask("new", "hello", "en"), asked.set()))
                    thread.start()
                    assert asked.wait(60), "the question waits for the redactor"
                    thread.join()
                return Redactor().redact(text)

            return redact

        assert apply_retention(journal, keep_days=0, redact_after_days=30, redactor=slow).redacted == 1
        assert CARD not in journal.turns("old")[0].question


@pytest.mark.parametrize("reason", ["Jan_de_Vries_0612345678", "王小明13912345678"])
def test_hand_off_reason_in_an_agents_words_is_redacted_and_never_leaves(tmp_path: Path, reason: str) -> None:
    """Part of S11."""
    clock = Clock()
    with Journal(tmp_path / "journal.sqlite", now=clock) as journal:
        inbox = Inbox(journal)
        ruled = journal.ask("ruled", "See you in court", "en")
        journal.end(ruled, "complete", "A colleague", handoff="legal", details=TurnDetails(decided="rule:legal"))
        inbox.hand_off(store(journal, "talk", sent=False), reason, "ann")
        inbox.hand_off(store(journal, "known", sent=False), "complaint", "ann")
        left = {row.handoff for _, row in outbox_rows(journal, public="", limit=10, reasons={"complaint"})}
        assert left == {"legal", "other", "complaint"}
        clock.pass_days(50)
        sweep(journal)
        assert {one.reason for one in inbox.handoffs()} == {"legal", "other"}
        assert {journal.turns(name)[0].handoff for name in ("ruled", "talk")} == {"legal", "other"}


def test_files_with_customers_words_follow_the_rules_of_the_journal(tmp_path: Path) -> None:
    """Part of S11: exports, clipboard, a console's memory, damaged journals."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    copies = ("clipboard.txt", "console.damaged", "exports/talk.md", "exports/a/talk.json", "journal.sqlite.damaged-1")
    unsent = tmp_path / "console.json"
    unsent.write_text('{"saved": false}')
    kept = tmp_path / "settings.toml"
    kept.write_text("")
    for name in copies:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CARD)
        path.chmod(0o644)

    def age(days: float) -> None:
        for path in tmp_path.rglob("*"):
            os.utime(path, ((now - timedelta(days=days)).timestamp(),) * 2)

    age(20)
    assert forget_files(tmp_path, now, keep_days=90, redact_after_days=30) == 0
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in copies} == {0o600}
    age(-3650)  # from while the clock was ahead
    assert forget_files(tmp_path, now, keep_days=90, redact_after_days=30) == 0
    assert forget_files(tmp_path, now + timedelta(days=29), keep_days=90, redact_after_days=30) == 0
    assert forget_files(tmp_path, now + timedelta(days=60), keep_days=0, redact_after_days=0) == 0
    assert forget_files(tmp_path, now + timedelta(days=31), keep_days=90, redact_after_days=30) == len(copies)
    assert not [name for name in copies if (tmp_path / name).exists()]
    assert unsent.is_file(), "verdicts that the server has not got are kept"
    assert kept.is_file()


PLANTED = ("Wetherby", "wetherby@example.com", "030 5551 2345", "4111 1111 1111 1111", "王小明", "13912345678")
WORDS = (
    "I am Ms Wetherby, wetherby@example.com, call 030 5551 2345, card 4111 1111 1111 1111, 我叫王小明，电话13912345678"
)


def test_personal_data_in_any_encoding_is_found_by_the_search_that_looks_for_it(tmp_path: Path) -> None:
    for number, (encoding, written) in enumerate(spellings("王小明 wetherby@example.com")):
        (tmp_path / str(number)).write_bytes(b"before " * number + written + b" after")
        assert any(f"({encoding})" in one for one in find_planted(tmp_path, ["王小明 wetherby@example.com"])), encoding


@pytest.mark.parametrize("end", ["redacted", "deleted"])
def test_personal_data_past_its_time_is_in_no_file_of_the_home(
    tmp_path: Path, end: str, count_trials: Callable[[str, int], None]
) -> None:
    """S11: texts, drafts, replies, notes, tags, typed text, hand-offs, details, the search index, copies in files.

    Searched for in UTF-8, -16, -32, GB18030, JSON escapes, hexadecimal and base64, while the journal is open and after.
    """
    clock, path = Clock(), tmp_path / "journal.sqlite"
    with Journal(path, now=clock) as journal:
        inbox = Inbox(journal)
        for number in range(3):
            key = journal.ask(f"talk-{number}", WORDS, "en")
            journal.draft(key, WORDS)
            details = TurnDetails(query=WORDS, entities={"name": "Wetherby"}, unsupported=(WORDS,), error=WORDS)
            journal.end(key, "complete", WORDS, details=details)
            journal.feed_back(key, Feedback("edited", WORDS, WORDS, 5, 1.0, "ann"))
            inbox.change(key.conversation, {"notes": WORDS, "summary": WORDS, "tags": (WORDS[:60], "王小明")}, "ann")
            inbox.compose(key.conversation, WORDS, 0)
            inbox.hand_off(key, "王小明13912345678", "ann")
            if end == "deleted":
                for waiting in journal.waiting(-1):
                    journal.mark_sent(*waiting)
        inbox.compose("never", WORDS, 0)
        for name in ("clipboard.txt", "exports/talk.md", "journal.sqlite.damaged-1", "console.damaged"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(WORDS, encoding="utf-8")
            os.utime(tmp_path / name, (clock.now.timestamp(),) * 2)
        assert len(find_planted(tmp_path, PLANTED)) >= len(PLANTED)
        left = [row for _, row in outbox_rows(journal, public="", limit=10)]
        (tmp_path / "outbox.jsonl").write_text("\n".join(row.model_dump_json() for row in left), encoding="utf-8")
        clock.pass_days(40 if end == "redacted" else 100)
        done = sweep(journal)
        assert (done.deleted, done.overwritten) == (3 if end == "deleted" else 0, True)
        forget_files(tmp_path, clock.now, keep_days=90, redact_after_days=30)
        assert find_planted(tmp_path, PLANTED) == []
    assert find_planted(tmp_path, PLANTED) == []
    count_trials("S11", len(PLANTED))
