"""What each event does to the console's state."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from runtime import events
from tui.state import (
    MAX_TURNS,
    Asked,
    Cancelled,
    Event,
    Heard,
    Link,
    Linked,
    NewConversation,
    Phase,
    State,
    Typed,
    reduce,
)

READY = State(link=Link.READY)
CITATION = events.Citation(article="a", section="s", title="A", heading="S", text="t", lang="en")
FIRST = [Typed(" 怎么退货? "), Asked(10.0)]
STORED = Heard(1, 10.1, events.Stored(conversation="c", turn=1))
FOUND = Heard(1, 10.2, events.SectionsFound(citations=(CITATION,)))
TOKENS = [Heard(1, 11.0, events.Token(text="可以")), Heard(1, 11.5, events.Token(text="退货"))]
DONE = Heard(
    1,
    12.0,
    events.Done(
        answer="可以退货。", citations=(), ttft_s=0.9, tokens_per_s=7.0, model="m", handoff=None, unsupported=("30",)
    ),
)
FAILED = Heard(1, 12.0, events.Failed(error="UnavailableError", what="gone", hint="wait"))


def run(events_: list[Event], state: State = READY) -> State:
    for event in events_:
        state = reduce(state, event)
    return state


@pytest.mark.parametrize(
    ("name", "story", "expected"),
    [
        ("sending empties the field", FIRST, {"phase": Phase.SENDING, "question": "怎么退货?", "composer": ""}),
        ("blank is not sent", [Typed(" \n"), Asked(1.0)], {"phase": None, "composer": " \n"}),
        ("stored names the conversation", [*FIRST, STORED], {"conversation": "c"}),
        ("queue", [*FIRST, Heard(1, 10.1, events.Queued(position=3))], {"phase": Phase.QUEUED, "position": 3}),
        ("sources before the draft", [*FIRST, FOUND], {"phase": Phase.READING, "citations": (CITATION,)}),
        ("draft grows", [*FIRST, *TOKENS], {"phase": Phase.WRITING, "draft": "可以退货", "wait_s": 1.0, "speed": 2.0}),
        ("speed of one token is unknown", [*FIRST, TOKENS[0]], {"speed": None, "wait_s": 1.0}),
        ("done replaces the draft", [*FIRST, *TOKENS, DONE], {"phase": Phase.DONE, "draft": "可以退货。"}),
        ("server's figures win", [*FIRST, *TOKENS, DONE], {"wait_s": 0.9, "speed": 7.0, "unsupported": ("30",)}),
        ("done without sources keeps them", [*FIRST, FOUND, DONE], {"citations": (CITATION,)}),
        ("cancel gives the text back", [*FIRST, Cancelled()], {"phase": Phase.CANCELLED, "composer": "怎么退货?"}),
        (
            "cancel keeps what was typed meanwhile",
            [*FIRST, Typed("next"), Cancelled()],
            {"composer": "怎么退货?\nnext"},
        ),
        ("cancel keeps the partial draft", [*FIRST, *TOKENS, Cancelled()], {"draft": "可以退货"}),
        ("a late token changes nothing", [*FIRST, Cancelled(), *TOKENS], {"phase": Phase.CANCELLED, "draft": ""}),
        ("failure gives the text back", [*FIRST, FAILED], {"phase": Phase.FAILED, "composer": "怎么退货?"}),
        ("failure says why", [*FIRST, FAILED], {"problem": "gone", "hint": "wait"}),
        ("cancel after the end changes nothing", [*FIRST, DONE, Cancelled()], {"phase": Phase.DONE, "composer": ""}),
        (
            "a newer message retires the draft",
            [*FIRST, *TOKENS, Typed("next"), Asked(11.0)],
            {"composer": "", "asked": 2},
        ),
        ("a blank one retires nothing", [*FIRST, *TOKENS, Typed(" "), Asked(11.0)], {"asked": 1, "draft": "可以退货"}),
        ("next customer", [*FIRST, STORED, DONE, NewConversation()], {"phase": None, "conversation": None}),
        (
            "a draft goes on behind the next customer",
            [*FIRST, STORED, NewConversation()],
            {"conversation": None, "busy": False},
        ),
        (
            "an event of an older turn changes nothing",
            [*FIRST, DONE, Typed("b"), Asked(20.0), *TOKENS],
            {"draft": "", "asked": 2},
        ),
        (
            "gone counts the tries",
            [Linked(Link.GONE, "x"), Linked(Link.STARTING), Linked(Link.GONE, "y")],
            {"retry": 2},
        ),
        ("ready ends the count", [Linked(Link.GONE, "x"), Linked(Link.READY, bundle="b")], {"retry": 0, "bundle": "b"}),
        ("gone keeps the name of the bundle", [Linked(Link.READY, bundle="b"), Linked(Link.GONE)], {"bundle": "b"}),
        ("no sending while gone", [Linked(Link.GONE), *FIRST], {"phase": None, "composer": " 怎么退货? "}),
        ("a draft goes on while the link is in doubt", [*FIRST, Linked(Link.GONE), *TOKENS], {"draft": "可以退货"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_event_does_what_the_table_says(name: str, story: list[Event], expected: dict[str, object]) -> None:
    state = run(story)
    for key, value in expected.items():
        holder = state if hasattr(state, key) else state.current
        got = getattr(holder, key) if holder is not None else None
        assert got == value, key


def test_an_event_that_changes_nothing_gives_back_the_same_object() -> None:
    state = run([Typed("a")])
    for event in (Typed("a"), Cancelled(), TOKENS[0], Linked(Link.READY)):
        assert reduce(state, event) is state


def test_the_list_of_turns_is_bounded() -> None:
    state = READY
    for number in range(1, MAX_TURNS + 10):
        state = run([Typed("q"), Asked(0.0), replace(DONE, turn=number)], state)
    assert len(state.turns) == MAX_TURNS
    assert state.current is not None
    assert state.current.number == state.asked == MAX_TURNS + 9


def test_the_state_knows_nothing_of_the_terminal() -> None:
    code = "import sys, tui.state, tui.cli.main; sys.exit('textual' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
