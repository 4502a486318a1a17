from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.events import AskRequest, Done, Event, Stored, Token
from runtime.server.sent_limits import limit_events


def done(answer: str) -> Done:
    return Done(answer=answer, citations=(), ttft_s=0, tokens_per_s=0, model="m")


def events(pieces: list[str], answer: str) -> Iterator[Event]:
    yield Stored(conversation="c", turn=1)
    yield from (Token(text=piece) for piece in pieces)
    yield done(answer)


def sent(pieces: list[str], answer: str, **limits: object) -> tuple[str, Done]:
    request = AskRequest.model_validate({"question": "x", **limits})
    got = list(limit_events(events(pieces, answer), request, lambda text: len(text.split())))
    assert isinstance(got[-1], Done)
    return "".join(one.text for one in got if isinstance(one, Token)), got[-1]


@pytest.mark.parametrize("pieces", [["within 30 days of it"], ["with", "in 3", "0 days", " of it"]])
def test_stop_holds_for_a_text_that_no_model_wrote(pieces: list[str]) -> None:
    text, end = sent(pieces, "within 30 days of it", stop=["30"])
    assert (text, end.answer, end.finish) == ("within ", "within ", "stop")


def test_max_tokens_holds_for_a_text_that_no_model_wrote() -> None:
    text, end = sent(["within 30 days of it"], "within 30 days of it", max_tokens=3)
    assert text.split() == end.answer.split() == ["within", "30", "days"]
    assert end.finish == "length"


def test_limits_hold_for_the_answer_that_replaces_a_draft() -> None:
    text, end = sent(["the draft"], "The article says: 30 days of delivery", stop=["30"], max_tokens=100)
    assert (text, end.answer) == ("the draft", "The article says: ")


@given(
    st.lists(st.text(max_size=6), max_size=12),
    st.lists(st.text(min_size=1, max_size=3), max_size=3),
    st.none() | st.integers(1, 4),
)
def test_what_is_sent_adds_up_to_the_answer(pieces: list[str], stop: list[str], most: int | None) -> None:
    whole = "".join(pieces)
    text, end = sent(pieces, whole, stop=stop, max_tokens=most)
    assert text == end.answer
    assert whole.startswith(text)
    assert not any(one in text for one in stop)
    assert most is None or len(text.split()) <= most
