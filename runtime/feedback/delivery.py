"""What to do after each answer of the receiver, so that everything arrives, and nothing holds up the rest. Pure.

    accepted        these rows have arrived; the next batch may be larger again
    refused         of several rows: try half of them. Of one: it is the row's fault, pass over it
    unreachable     wait, twice as long each time, then give up for now; everything goes on waiting
    not allowed     stop: token or address are wrong, and no row is to blame

A receiver that refuses every row one by one has a fault of its own: after `MAX_REFUSED_IN_A_ROW` of them nothing is set
aside and the run stops. An answer that is lost after the receiver stored the rows is `unreachable`: they are sent again
under the same keys, of which a receiver keeps one row each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal

MAX_REFUSED_IN_A_ROW = 10
_STOP = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(frozen=True)
class DeliveryLimits:
    """How much is sent at once, and how patiently."""

    batch: int = 100
    tries: int = 6
    """Of one batch that does not get through."""
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


@dataclass(frozen=True)
class ReceiverAnswer:
    """What came of one upload."""

    kind: Literal["accepted", "refused", "unreachable", "not_allowed"]
    why: str = ""
    retry_after_s: float = 0.0
    """How long the receiver asks to be left alone."""


@dataclass(frozen=True)
class DeliveryState:
    """How far a run has come."""

    size: int
    """Rows of the next batch."""
    failures: int = 0
    """Uploads in a row that did not get through."""
    refused: int = 0
    """Rows in a row that were refused alone; they are passed over, and set aside once something is accepted."""


@dataclass(frozen=True)
class DeliveryMove:
    """What to do next."""

    action: Literal["acknowledge", "pass_over", "again", "wait", "stop"]
    state: DeliveryState
    wait_s: float = 0.0
    why: str = ""


def answer_of_status(status: int, retry_after: str = "") -> ReceiverAnswer:
    """What an HTTP status says; a redirection is not followed, since it would take the rows somewhere else."""
    if 200 <= status < 300:
        return ReceiverAnswer("accepted")
    why = f"the receiver answers with status {status}"
    if status in _STOP or status < 400:
        return ReceiverAnswer("not_allowed", why)
    if status in _LATER or status >= 500:
        return ReceiverAnswer("unreachable", why, float(retry_after) if retry_after.isdecimal() else 0.0)
    return ReceiverAnswer("refused", why)


def decide(state: DeliveryState, rows: int, answer: ReceiverAnswer, limits: DeliveryLimits) -> DeliveryMove:
    """The next move after `rows` rows got this answer."""
    if answer.kind == "accepted":
        return DeliveryMove("acknowledge", DeliveryState(min(limits.batch, 2 * max(state.size, rows))))
    if answer.kind == "not_allowed":
        return DeliveryMove("stop", state, why=answer.why)
    if answer.kind == "refused" and rows > 1:
        return DeliveryMove("again", replace(state, size=rows // 2, failures=0))
    if answer.kind == "refused":
        refused = state.refused + 1
        if refused >= MAX_REFUSED_IN_A_ROW:
            return DeliveryMove("stop", state, why=f"{refused} turns in a row were refused: {answer.why}")
        return DeliveryMove("pass_over", replace(state, refused=refused, failures=0))
    failures = state.failures + 1
    wait = min(limits.longest_wait_s, limits.first_wait_s * 2.0**state.failures)
    if failures >= limits.tries or answer.retry_after_s > limits.longest_wait_s:
        return DeliveryMove("stop", replace(state, failures=failures), why=answer.why)
    return DeliveryMove("wait", replace(state, failures=failures), max(wait, answer.retry_after_s))
