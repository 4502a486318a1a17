"""Sending what waits, to a receiver that fails in every way it can."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.bundle.bundle import open_bundle
from runtime.errors import InputError, UnavailableError, UsageError
from runtime.feedback.delivery import DeliveryLimits
from runtime.feedback.outgoing import JournalOutbox, export_turns
from runtime.feedback.uplink import Uplink, read_token, send_turns
from runtime.journal.journal import Journal
from runtime.journal.outbox import outbox_page
from runtime.journal.outbox_queue import outbox_counts
from runtime.journal.retention import apply_retention
from runtime.journal.stored_turn import Feedback
from tests.support.feedback_receiver import URL, Receiver
from tests.support.planted import find_planted, spellings

PLANTED = ("Wetherby", "wetherby@example.com", "13912345678", "王小明", "4111 1111 1111 1111", "ORD-2291-77")
REPLAYS = 100


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "home" / "journal.sqlite") as journal:
        yield journal


@pytest.fixture
def outbox(journal: Journal, make_bundle: Callable[..., Path]) -> JournalOutbox:
    return JournalOutbox(journal, open_bundle(make_bundle(), verify=True), branch="Lisbon", generation=3)


def fill(journal: Journal, turns: int) -> None:
    with journal.transaction():
        for number in range(turns):
            key = journal.ask(f"talk-{number // 3}", f"How long? 多久？ {number}", "en")
            journal.end(key, "complete", f"30 days {number}")
            if number % 2:
                journal.feed_back(key, Feedback("edited", f"31 days {number}", rating=4))


def no_wait(_seconds: float) -> None:
    pass


def test_uplink_cut_between_the_receivers_commit_and_its_answer_loses_and_doubles_nothing(
    journal: Journal, outbox: JournalOutbox, count_trials: Callable[[str, int], None]
) -> None:
    """F9: the connection ends after the rows are stored, a hundred times at random, and once at the very end."""
    fill(journal, 60)
    wanted = {row.key for row in outbox_page(journal, public="", limit=-1).rows}
    rng, cuts = random.Random(9), 0

    def cut() -> Iterator[bool]:
        nonlocal cuts
        while cuts < REPLAYS:
            cuts += (now := rng.random() < 0.9)
            yield now

    receiver = Receiver(cut=cut())
    stopped = 0
    for _ in range(REPLAYS):
        with receiver.uplink() as uplink:
            try:
                report = send_turns(outbox, uplink, wait=no_wait, limits=DeliveryLimits(batch=7, tries=3))
            except UnavailableError:  # the run gave up: a timer starts the next one
                stopped += 1
                continue
        if cuts == REPLAYS:
            break
        fill(journal, 3)
        wanted |= {row.key for row in outbox_page(journal, public="", limit=-1).rows}
    assert cuts == REPLAYS
    assert stopped > 0
    assert report.waiting == 0
    assert receiver.rows.keys() == wanted, "rows at the receiver = distinct keys"
    assert max(receiver.came.values()) > 1, "rows did come twice"
    same = {request.headers["Idempotency-Key"] for request in receiver.requests}
    assert len(same) < len(receiver.requests), "a batch that is sent again has its key again"
    count_trials("F9", cuts)


def test_uplink_process_killed_before_it_noted_the_answer_sends_the_same_rows_again(
    journal: Journal, outbox: JournalOutbox
) -> None:
    """Part of F9: the answer came, and the note of it was lost."""
    fill(journal, 5)
    receiver = Receiver()
    with receiver.uplink() as uplink:
        rows = outbox.page(10).rows
        assert uplink.post(outbox.header(), rows).kind == "accepted"  # and here the process dies
        assert send_turns(outbox, uplink, wait=no_wait).sent == 5
    assert set(receiver.came.values()) == {2}
    assert len(receiver.rows) == 5


@pytest.mark.parametrize("poison", [0, 1, 20, 39])
def test_uplink_row_that_the_receiver_refuses_is_set_aside_and_the_rest_flows(
    journal: Journal, outbox: JournalOutbox, poison: int, count_trials: Callable[[str, int], None]
) -> None:
    """F11: one turn that the receiver refuses and one whose text is damaged in the file, anywhere in the queue."""
    fill(journal, 40)
    with journal.transaction() as db:
        db.execute("UPDATE turn SET draft = CAST(x'ff' AS TEXT) WHERE conversation = 'talk-5'")
    receiver = Receiver(refuses=lambda line: json.loads(line)["question"].endswith(f" {poison}"))
    with receiver.uplink() as uplink:
        report = send_turns(outbox, uplink, wait=no_wait, limits=DeliveryLimits(batch=16))
    damaged = 3  # the turns of its conversation
    assert (report.sent, report.aside, report.waiting) == (40 - damaged - 1, damaged + 1, 0)
    assert len(receiver.rows) == report.sent
    assert set(receiver.came.values()) == {1}
    assert outbox_counts(journal).aside == report.aside
    count_trials("F11", 40)


def test_uplink_row_alone_in_the_outbox_is_set_aside_too(journal: Journal, outbox: JournalOutbox) -> None:
    """Part of F11."""
    fill(journal, 1)
    with Receiver(refuses=lambda _: True).uplink() as uplink:
        assert send_turns(outbox, uplink, wait=no_wait).aside == 1


def test_uplink_that_refuses_everything_sets_nothing_aside(journal: Journal, outbox: JournalOutbox) -> None:
    """Part of F11: then the receiver is at fault, not forty rows."""
    fill(journal, 40)
    with Receiver(refuses=lambda _: True).uplink() as uplink, pytest.raises(UnavailableError, match="in a row"):
        send_turns(outbox, uplink, wait=no_wait)
    assert outbox_counts(journal) == (40, 0, 0)


@pytest.mark.parametrize(("status", "said"), [(401, "status 401"), (308, "status 308"), (503, "40 go on waiting")])
def test_uplink_that_does_not_take_rows_loses_none(
    journal: Journal, outbox: JournalOutbox, status: int, said: str
) -> None:
    fill(journal, 40)
    waits: list[float] = []
    receiver = Receiver(status=lambda _number: status)
    with receiver.uplink() as uplink, pytest.raises(UnavailableError, match=said):
        send_turns(outbox, uplink, wait=waits.append)
    assert outbox_counts(journal) == (40, 0, 0)
    assert len(receiver.requests) == len(waits) + 1
    assert {str(request.url) for request in receiver.requests} == {URL}, "no redirection is followed"


def talk_about_somebody(journal: Journal, name: str) -> None:
    said = f"I am Ms Wetherby, {PLANTED[1]}, order {PLANTED[5]}; 我叫王小明，电话13912345678, card 4111 1111 1111 1111"
    key = journal.ask(name, said, "en")
    journal.end(key, "complete", "Ms Wetherby, 30 days.", handoff="for Ms Wetherby")
    journal.feed_back(key, Feedback("edited", f"王小明您好。{said}", "wrong for Wetherby", 2, 3.0, "ann"))


def test_uplink_and_export_hold_no_personal_data(
    journal: Journal, outbox: JournalOutbox, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S11: what leaves, as bytes: the file, and each upload with its headers."""
    talk_about_somebody(journal, "13912345678")
    out = tmp_path / "out"
    report = export_turns(outbox, out / "feedback.jsonl", keep=True)
    assert report.turns == 1
    assert find_planted(out, PLANTED) == []
    receiver = Receiver()
    with receiver.uplink(token="t0k3n") as uplink:
        send_turns(outbox, uplink, wait=no_wait)
    (request,) = receiver.requests
    sent = bytes(request.headers.raw[0][1]) + repr(request.headers).encode() + request.content
    found = [value for value in PLANTED for _, written in spellings(value) if len(written) > 3 and written in sent]
    assert found == []
    assert request.headers["Authorization"] == "Bearer t0k3n"
    assert b"<NAME_1>" in request.content
    count_trials("S11", 2 * len(PLANTED))


def test_uplink_sends_nothing_of_a_conversation_forgotten_while_it_waits(
    journal: Journal, outbox: JournalOutbox
) -> None:
    """The first upload does not get through; before the second the conversation is forgotten."""
    journal.end(journal.ask("kept", "How long?", "en"), "complete", "30 days")
    journal.end(journal.ask("gone", "What does the forgotten lamp cost?", "en"), "complete", "9 EUR")
    receiver = Receiver(status=lambda number: 503 if number == 1 else 200)

    def forget(_seconds: float) -> None:
        with journal.transaction() as db:
            db.execute("UPDATE inbox SET touched = '2020-01-01T00:00:00.000+00:00' WHERE conversation = 'gone'")
        done = apply_retention(journal, keep_days=1, redact_after_days=0, redactor=lambda: str, unsent=True)
        assert done.deleted == 1

    with receiver.uplink() as uplink:
        assert send_turns(outbox, uplink, wait=forget).sent == 1
    assert len(receiver.rows) == 1
    assert "forgotten lamp" not in "".join(receiver.rows.values())


def test_export_leaves_out_what_was_forgotten_while_it_was_made(
    journal: Journal, outbox: JournalOutbox, tmp_path: Path
) -> None:
    fill(journal, 9)

    def forget(_done: int, _all: int) -> None:
        with journal.transaction() as db:
            for table in ("outbox", "feedback"):
                db.execute(f"DELETE FROM {table} WHERE conversation = 'talk-1'")

    report = export_turns(outbox, tmp_path / "out.jsonl", advance=forget)
    assert report.turns == 6
    assert journal.alias("talk-1") not in (tmp_path / "out.jsonl").read_text()
    assert outbox_counts(journal).waiting == 0


@pytest.mark.parametrize(
    "url", ["", "http://head-office.example", "ftp://x", "https://", "https://me:word@host/", "::"]
)
def test_uplink_is_an_https_address_without_a_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Uplink(url)
    assert refused.value.hint


def test_uplink_token_and_certificates_are_refused_with_their_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("two words")
    with pytest.raises(InputError, match="file"):
        read_token(file)
    with pytest.raises(InputError, match="certificates"):
        Uplink(URL, ca=file)
    file.write_text("t0k3n\n")
    assert read_token(file) == "t0k3n"
    assert read_token(None) == ""
