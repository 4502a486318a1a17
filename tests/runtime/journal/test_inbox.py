"""The agents' inbox, in the journal and over the interface."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.errors import BusyError, MissingError
from runtime.journal import inbox_index
from runtime.journal.inbox import ComposerText, ConversationStatus, Inbox, Status
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import Feedback, TurnKey
from runtime.journal.turn_details import TurnDetails
from runtime.server.access import Caller, Role
from runtime.server.app import create_app
from runtime.server.http_errors import ForbiddenError
from runtime.server.service import Service

EN = "How long can I return an item after delivery?"
ZH = "大多数商品多长时间内可以退货？"
CANNED = """
[[canned]]
id = "hello"
title = "问候"
text = "您好，请问有什么可以帮您？"
"""


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite", now=clock) as opened:
        yield opened


def test_a_snooze_ends_by_itself_and_whoever_writes_again_is_open_again(journal: Journal, clock: Clock) -> None:
    inbox = Inbox(journal)
    for name in ("a", "b"):
        journal.ask(name, ZH, "zh")
    until = (clock.now + timedelta(hours=1)).isoformat(timespec="milliseconds")
    inbox.change("a", {"status": "snoozed", "snooze_until": until, "notes": "打电话", "tags": ("vip",)}, "ann")
    inbox.change("b", {"status": "closed", "satisfaction": 5, "summary": "done"}, "ann")
    assert [one.conversation for one in inbox.conversations(status="open")] == []
    clock.now += timedelta(hours=1)
    assert inbox.standing("a") == ConversationStatus(notes="打电话", tags=("vip",))
    assert [one.conversation for one in inbox.conversations(status="open")] == ["a"]
    assert [one.conversation for one in inbox.conversations(tag="vip")] == ["a"]
    journal.ask("b", "One more thing", "en")
    assert inbox.standing("b") == ConversationStatus("open", satisfaction=5, summary="done")
    with pytest.raises(MissingError):
        inbox.change("nobody", {"status": "closed"}, "ann")


def test_the_listing_says_who_waits(journal: Journal, clock: Clock) -> None:
    inbox = Inbox(journal)
    for name in ("waits", "answered", "person"):
        clock.now += timedelta(seconds=1)
        key = journal.ask(name, EN, "en")
        journal.end(key, "complete", "30 days", handoff="legal" if name == "person" else None,
                    details=TurnDetails(intent="returns", emotion="calm"))  # fmt: skip
    journal.feed_back(TurnKey("answered", 1), Feedback("accepted"))
    inbox.label(TurnKey("person", 1), intent=None, emotion="angry", agent="ann")
    rows = inbox.conversations()
    seen = [(one.conversation, one.waiting, one.handoff, one.newest.intent, one.newest.emotion) for one in rows]
    assert seen == [
        ("person", True, "legal", "returns", "angry"),
        ("answered", False, None, "returns", "calm"),
        ("waits", True, None, "returns", "calm"),
    ]
    inbox.change_handoff(TurnKey("person", 1), "closed", "ann")
    assert inbox.conversations(limit=1)[0].handoff is None
    assert [one.conversation for one in inbox.conversations(limit=1, offset=2)] == ["waits"]


@pytest.mark.parametrize("status", [None, "open", "snoozed", "closed"])
@pytest.mark.parametrize("tag", [None, "vip", "退货"])
def test_inbox_pages_are_those_of_a_plain_filter(
    journal: Journal, clock: Clock, status: Status | None, tag: str | None
) -> None:
    """The index of the inbox against all conversations, filtered one by one; also after it was made anew."""
    inbox = Inbox(journal)
    rng = random.Random(7)
    for _ in range(120):
        clock.now += timedelta(seconds=rng.randint(-3000, 3000))  # a clock that jumps
        name = f"talk-{rng.randint(0, 40)}"
        journal.ask(name, EN, "en")
        until = (clock.now + timedelta(seconds=rng.randint(1, 5000))).isoformat(timespec="milliseconds")
        change = rng.choice(
            ({"status": "closed"}, {"status": "snoozed", "snooze_until": until}, {"tags": ("vip",)}, {"tags": ()},
             {"tags": ("vip", "退货")}, {}),
        )  # fmt: skip
        inbox.change(name, change, "ann")
    everything = inbox.conversations(limit=1000)
    assert [one.conversation for one in everything] == list(dict.fromkeys(reversed(asked_in_order(journal))))
    wanted = [
        one.conversation
        for one in everything
        if status in (None, one.standing.status) and (tag is None or tag in one.standing.tags)
    ]
    found = [inbox.conversations(status=status, tag=tag, limit=5, offset=start) for start in range(0, 50, 5)]
    assert [one.conversation for page in found for one in page] == wanted
    with journal.transaction() as db:
        inbox_index.rebuild(db)
    again = {one.conversation for one in inbox.conversations(status=status, tag=tag, limit=1000)}
    assert again == set(wanted)


def steps_of(journal: Journal, work: Callable[[], object]) -> int:
    """Steps of SQLite's machine, in tens: what a query costs, whatever the machine does beside it."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    with journal.reading() as db:
        db.set_progress_handler(step, 10)
        try:
            work()
        finally:
            db.set_progress_handler(None, 10)
    return count


def test_page_of_the_inbox_costs_the_same_in_a_journal_five_times_as_long(journal: Journal) -> None:
    """Every console asks for it every two seconds, and retention may keep conversations for ever."""
    inbox, costs = Inbox(journal), []
    until = "2099-01-01T00:00:00.000+00:00"
    changes: list[dict[str, Any]] = [
        {"status": "closed"}, {"status": "snoozed", "snooze_until": until}, {"tags": ("vip",)}, {},
    ]  # fmt: skip
    asks: list[dict[str, Any]] = [{}, {"status": "open"}, {"status": "closed"}, {"status": "snoozed"}, {"tag": "vip"}]
    made = 0
    for size in (200, 1000):
        for number in range(made, size):
            key = journal.ask(f"talk-{number}", EN, "en")
            journal.end(key, "complete", "30 days")
            if change := changes[number % len(changes)]:
                inbox.change(key.conversation, change, "ann")
        made = size
        costs.append([steps_of(journal, lambda ask=ask: inbox.conversations(limit=20, **ask)) for ask in asks])  # type: ignore[misc]
    assert all(len(inbox.conversations(limit=20, **ask)) == 20 for ask in asks)
    assert all(short > 10 for short in costs[0])
    assert all(long < 1.5 * short for short, long in zip(*costs, strict=True)), costs


def asked_in_order(journal: Journal) -> list[str]:
    """The conversation of each message, in the order in which they were stored."""
    with journal.reading() as db:
        return [row[0] for row in db.execute("SELECT conversation FROM searched ORDER BY id")]


def test_rejected_draft_with_its_correction_leaves_the_customer_waiting(journal: Journal) -> None:
    key = journal.ask("talk", EN, "en")
    journal.end(key, "complete", "20 days")
    journal.feed_back(key, Feedback("rejected", "30 days"))
    assert Inbox(journal).conversations()[0].waiting


def test_two_consoles_cannot_overwrite_each_other_unseen(journal: Journal) -> None:
    inbox = Inbox(journal)
    assert inbox.composer("new") == ComposerText()
    assert inbox.compose("new", "Dear", 0) == ComposerText("Dear", 1)
    with pytest.raises(BusyError, match="it is at 1"):
        inbox.compose("new", "Hello", 0)
    assert inbox.compose("new", "亲爱的", 1) == inbox.composer("new") == ComposerText("亲爱的", 2)


def test_a_correction_leaves_with_its_turn_and_stands_over_the_guess(journal: Journal) -> None:
    from runtime.journal.outbox import acknowledge, outbox_rows

    key = journal.ask("talk", EN, "en")
    journal.end(key, "complete", "30 days", details=TurnDetails(intent="delivery", emotion="calm"))
    acknowledge(journal, {row.key for _, row in outbox_rows(journal, public="", limit=10)})
    inbox = Inbox(journal)
    inbox.label(key, intent="returns", emotion=None, agent="ann")
    inbox.label(key, intent=None, emotion="angry", agent="bo")
    ((_, row),) = outbox_rows(journal, public="", limit=10)
    assert (row.intent, row.emotion, row.revision) == ("returns", "angry", 3)
    (turn,) = journal.turns("talk")
    assert (turn.intent, turn.emotion, turn.label and turn.label.agent) == ("returns", "angry", "bo")


@pytest.fixture
def service(make_home: Callable[..., Path], scripted_gguf: Path) -> Iterator[Service]:
    home = make_home(scripted_gguf)
    policy = home / "current" / "policy.toml"
    policy.write_text(policy.read_text(encoding="utf-8") + CANNED, encoding="utf-8")
    with lock_home(home, "test"), open_desk(home, Settings(threads=1)) as desk:
        service = Service(home, Settings(threads=1))
        service.desk = desk
        yield service
        service.stop()
        service.wait_for_answers()


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=60) as client:
        yield client


async def got(http: httpx.AsyncClient, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await http.request(method, f"/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_the_console_finds_everything_it_shows(http: httpx.AsyncClient) -> None:
    await http.post("/v1/ask", json={"question": EN, "conversation": "talk"})
    await http.post("/v1/ask", json={"question": "NL-TV-55 order NL-2291 0453, 人工", "conversation": "talk"})
    place = "conversations/talk"
    until = "2099-01-01T12:00:00+02:00"
    snoozed = await got(http, "PATCH", place, {"status": "snoozed", "snooze_until": until, "assignee": "ann"})
    assert (snoozed["status"], snoozed["snooze_until"]) == ("snoozed", "2099-01-01T10:00:00.000+00:00")
    assert (await got(http, "PATCH", place, {"tags": ["退货"], "notes": "x"}))["status"] == "snoozed"
    assert (await got(http, "GET", "conversations?status=open"))["conversations"] == []
    (row,) = (await got(http, "GET", "conversations?tag=退货"))["conversations"]
    assert (row["assignee"], row["handoff"], row["waiting"], row["turns"]) == ("ann", "asks_for_person", True, 2)
    early = {"status": "snoozed", "snooze_until": "0001-01-01T00:00:00+14:00"}
    for wrong in (
        {"status": "snoozed"},
        {"snooze_until": until},
        {"status": None},
        {"satisfaction": 6},
        {"x": 1},
        early,
    ):
        await got(http, "PATCH", place, wrong, 422)
    await got(http, "PATCH", "conversations/nobody", {"notes": "x"}, 404)
    assert await got(http, "GET", "canned?lang=zh") == {
        "canned": [{"id": "hello", "title": "问候", "text": "您好，请问有什么可以帮您？"}]
    }
    names = await got(http, "GET", "labels")
    assert {"angry", "calm"} <= set(names["emotions"])
    assert await got(http, "POST", f"{place}/turns/1/labels", {"emotion": "angry"}) == {"ok": True}
    await got(http, "POST", f"{place}/turns/1/labels", {"emotion": "purple"}, 422)
    await got(http, "POST", f"{place}/turns/9/labels", {"emotion": "angry"}, 404)
    assert await got(http, "PUT", f"{place}/composer", {"text": "Dear", "revision": 0}) == {
        "text": "Dear",
        "revision": 1,
    }
    await got(http, "PUT", f"{place}/composer", {"text": "Hi", "revision": 0}, 409)
    assert (await got(http, "GET", f"{place}/composer"))["text"] == "Dear"


async def test_a_hand_off_has_a_card_and_a_draft_an_account(http: httpx.AsyncClient) -> None:
    await http.post("/v1/ask", json={"question": EN, "conversation": "talk"})
    await http.post("/v1/ask", json={"question": "order 40021771, 请转人工", "conversation": "talk"})
    card = await got(http, "GET", "handoffs/talk/2/card")
    assert (card["reason"], card["language"], card["state"]) == ("asks_for_person", "zh", "open")
    assert card["open_questions"] == ["order 40021771, 请转人工"]
    assert [(one["turn"], one["question"]) for one in card["tried"]] == [(1, EN)]
    assert card["tried"][0]["citations"][0] == "returns-window#how-long"
    assert EN in card["summary"]
    await got(http, "GET", "handoffs/talk/1/card", status=404)
    why = await got(http, "GET", "conversations/talk/turns/1/why")
    assert (why["decided"], why["query"], why["bundle"], why["version"]) == ("model", EN, "shop", "1")
    assert why["prompt_tokens"] == why["reused_tokens"] + why["computed_tokens"] > 0
    best = why["sections"][0]
    assert (best["ref"], best["shown"], best["cited"], best["audience"]) == (
        "returns-window#how-long", True, True, "public",
    )  # fmt: skip
    assert why["cited"][0]["sentences"] == ["You can return most items within 30 days of delivery or collection."]
    assert why["times"]["took_s"] >= why["times"]["ttft_s"] > 0
    ruled = await got(http, "GET", "conversations/talk/turns/2/why")
    assert (ruled["rule"], ruled["decided"], ruled["sections"]) == ("asks_for_person", "rule:asks_for_person", [])
    await got(http, "GET", "conversations/talk/turns/3/why", status=404)


async def test_an_agent_hands_over_a_turn_that_no_rule_did(http: httpx.AsyncClient) -> None:
    await http.post("/v1/ask", json={"question": EN, "conversation": "talk"})
    await got(http, "POST", "handoffs/talk/1", {"state": "taken"}, 404)
    await got(http, "POST", "handoffs/talk/1", {"state": "open", "reason": "complaint"})
    assert (await got(http, "GET", "handoffs/talk/1/card"))["reason"] == "complaint"
    await got(http, "POST", "handoffs/talk/1", {"state": "closed"})
    await got(http, "POST", "handoffs/talk/1", {"state": "open", "reason": "legal"})
    card = await got(http, "GET", "handoffs/talk/1/card")
    assert (card["reason"], card["state"]) == ("complaint", "open")
    await got(http, "POST", "handoffs/talk/9", {"state": "open", "reason": "legal"}, 404)


async def test_practice_never_leaves_the_branch(http: httpx.AsyncClient) -> None:
    await http.post("/v1/ask", json={"question": EN, "conversation": "practice-1"})
    await got(http, "POST", "conversations/practice-1/turns/1/feedback", {"verdict": "accepted"})
    assert (await got(http, "GET", "outbox"))["rows"] == []
    assert (await got(http, "GET", "status"))["waiting"] == 0
    await http.post("/v1/ask", json={"question": ZH, "conversation": "talk"})
    assert (await got(http, "GET", "status"))["waiting"] == 1


@pytest.mark.parametrize("name", ["practice-1", "practice-", "practice-王小明"])
def test_practice_cannot_be_chosen_by_an_outside_program(name: str) -> None:
    outside, staff = Caller("shop", Role.ADMIN), Caller("ann", Role.AGENT, internal=True)
    Service.check_name(staff, name)
    Service.check_name(outside, "talk-practice-1")
    with pytest.raises(ForbiddenError, match="practice"):
        Service.check_name(outside, name)


async def test_messages_go_on_without_a_draft_and_a_reply_retires_one(http: httpx.AsyncClient) -> None:
    await http.post("/v1/ask", json={"question": EN, "conversation": "talk"})
    first = (await got(http, "GET", "conversations/talk"))["turns"]
    assert (first[0]["retired"], first[0]["reply"]) == (False, None)
    noted = await got(http, "POST", "conversations/talk/turns", {"text": ZH})
    assert noted == {"conversation": "talk", "turn": 2, "lang": "zh"}
    turns = (await got(http, "GET", "conversations/talk"))["turns"]
    assert [(one["draft"] != "", one["retired"], one["details"]["decided"]) for one in turns] == [
        (True, True, "model"), (False, False, "agent"),
    ]  # fmt: skip
    await got(http, "POST", "conversations/talk/turns/2/feedback", {"reply": "三十天"})
    turns = (await got(http, "GET", "conversations/talk"))["turns"]
    assert (turns[1]["reply"], turns[1]["retired"], turns[1]["feedback"]["verdict"]) == ("三十天", True, None)
    await http.post("/v1/ask", json={"question": "And at Christmas?", "conversation": "talk"})
    assert (await got(http, "GET", "conversations/talk/turns/3/why"))["query"].startswith(ZH)
