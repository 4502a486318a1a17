"""What follows from each answer of a receiver: decisions, without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.feedback.delivery import (
    MAX_REFUSED_IN_A_ROW,
    DeliveryLimits,
    DeliveryState,
    ReceiverAnswer,
    answer_of_status,
    decide,
)

LIMITS = DeliveryLimits(batch=64, tries=4, first_wait_s=1, longest_wait_s=10)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "accepted"), (201, "accepted"), (204, "accepted"),
        (301, "not_allowed"), (307, "not_allowed"), (401, "not_allowed"), (403, "not_allowed"), (404, "not_allowed"),
        (400, "refused"), (413, "refused"), (422, "refused"),
        (408, "unreachable"), (409, "unreachable"), (429, "unreachable"), (500, "unreachable"), (503, "unreachable"),
    ],
)  # fmt: skip
def test_status_says_whose_fault_it_is(status: int, kind: str) -> None:
    assert answer_of_status(status).kind == kind


def test_wait_of_an_unreachable_receiver_doubles_up_to_its_limit_and_then_gives_up() -> None:
    state, waits = DeliveryState(64), []
    while True:
        move = decide(state, 64, ReceiverAnswer("unreachable", "no route"), LIMITS)
        state = move.state
        if move.action == "stop":
            break
        waits.append(move.wait_s)
    assert waits == [1, 2, 4]
    assert decide(DeliveryState(64), 64, answer_of_status(429, "7"), LIMITS).wait_s == 7
    assert decide(DeliveryState(64), 64, answer_of_status(503, "3600"), LIMITS).action == "stop"
    assert decide(DeliveryState(64), 64, answer_of_status(503, "Wed, 21 Oct"), LIMITS).wait_s == 1


def test_refused_batch_is_halved_down_to_the_row_at_fault_and_grows_again() -> None:
    state, sizes = DeliveryState(64), [64]
    while (move := decide(state, state.size, ReceiverAnswer("refused"), LIMITS)).action == "again":
        state = move.state
        sizes.append(state.size)
    assert sizes == [64, 32, 16, 8, 4, 2, 1]
    assert move.action == "pass_over"
    grown = decide(move.state, 1, ReceiverAnswer("accepted"), LIMITS).state
    assert (grown.size, grown.refused) == (2, 0)


def test_receiver_that_refuses_every_row_ends_the_run() -> None:
    state, passed = DeliveryState(1), 0
    while (move := decide(state, 1, ReceiverAnswer("refused", "bad form"), LIMITS)).action == "pass_over":
        state, passed = move.state, passed + 1
    assert (move.action, passed) == ("stop", MAX_REFUSED_IN_A_ROW - 1)
    assert "bad form" in move.why


KINDS = st.sampled_from(["accepted", "refused", "unreachable", "not_allowed"])


@given(st.lists(KINDS, max_size=200), st.integers(1, 64))
def test_delivery_always_asks_for_at_least_one_row_and_never_waits_without_end(kinds: list[str], rows: int) -> None:
    state, waits = DeliveryState(LIMITS.batch), 0
    for kind in kinds:
        move = decide(state, min(rows, state.size), ReceiverAnswer(kind), LIMITS)  # type: ignore[arg-type]
        state = move.state
        waits = waits + 1 if move.action == "wait" else 0
        assert 1 <= state.size <= LIMITS.batch
        assert waits < LIMITS.tries
        assert 0 <= move.wait_s <= LIMITS.longest_wait_s
        if move.action == "stop":
            return
