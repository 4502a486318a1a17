"""The one way over the network out of a branch: rows to the endpoint that `uplink` in settings.toml names.

Each batch is one POST with the bytes of `runtime.feedback.export_file`, and an `Idempotency-Key` that is the same
whenever the same rows are sent. Promises: HTTPS only, to that host only (no redirection, no proxy of the environment);
rows are made right before they are sent; a turn counts as sent only after the receiver said so; nothing of an answer is
read but its status. `runtime.feedback.delivery` decides what follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx

from runtime import __version__
from runtime.base.files import read_text
from runtime.base.head_deadline import HEAD_S, HeadDeadline
from runtime.base.tls import trusted_certificates
from runtime.errors import InputError, UnavailableError, UsageError
from runtime.feedback.delivery import DeliveryLimits, DeliveryState, ReceiverAnswer, answer_of_status, decide
from runtime.feedback.export_file import ExportHeader, export_lines
from runtime.feedback.outgoing import Outgoing
from runtime.journal.outbox import OutboxRow

TIMEOUT_S = 30.0


class Uplink:
    """Posts rows to one endpoint."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        ca: Path | None = None,
        transport: httpx.BaseTransport | None = None,
        head_s: float = HEAD_S,
    ) -> None:
        """`ca` is a file of certificates in place of the system's; `transport` stands in for the network.

        `head_s` bounds the wait for the head of an answer.

        Raises `UsageError` for an address that is not HTTPS, `InputError` for certificates that are none.
        """
        if not url:
            raise UsageError(
                "no uplink is configured",
                where="uplink",
                hint='set uplink = "https://…" in settings.toml, or write a file: edgedesk feedback export FILE',
            )
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UsageError(f"not an address ({error})", where="uplink", hint='uplink = "https://…"') from None
        if address.scheme != "https" or not address.host or address.userinfo:
            raise UsageError(
                "an uplink is an https address without a password in it",
                where="uplink",
                hint="put the token into a file: uplink_token",
            )
        self._url = address
        headers = {"User-Agent": f"edgedesk/{__version__}", "Content-Type": "application/x-ndjson"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            headers=headers,
            timeout=TIMEOUT_S,
            trust_env=False,
            follow_redirects=False,
            transport=transport,
            verify=trusted_certificates(ca, "uplink_ca"),
        )
        HeadDeadline(self._http, head_s)

    def post(self, header: ExportHeader, rows: Sequence[OutboxRow]) -> ReceiverAnswer:
        """Send some rows; a connection that ends before the answer counts as not sent."""
        names = "\n".join(sorted(row.key for row in rows))
        key = hashlib.sha256(names.encode()).hexdigest()
        body = b"".join(export_lines(header, rows))
        try:
            with self._http.stream("POST", self._url, content=body, headers={"Idempotency-Key": key}) as got:
                return answer_of_status(got.status_code, got.headers.get("Retry-After", ""))
        except httpx.HTTPError as error:
            return ReceiverAnswer("unreachable", f"{self._url.host}: {error or type(error).__name__}")

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Uplink:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class SendReport:
    """What one run of sending did."""

    sent: int
    """Turns that have arrived."""
    aside: int
    """Turns that the receiver refuses, or that cannot be read: set aside."""
    waiting: int
    """Turns that go on waiting."""


def send_turns(
    outbox: Outgoing,
    uplink: Uplink,
    *,
    wait: Callable[[float], None],
    limits: DeliveryLimits | None = None,
    advance: Callable[[int, int], None] = lambda _done, _all: None,
) -> SendReport:
    """Send everything that waits; `UnavailableError` naming what is left when that is not possible for now."""
    limits = limits or DeliveryLimits()
    header = outbox.header()
    state = DeliveryState(limits.batch)
    sent = aside = 0
    refused: list[str] = []
    while True:
        # Made anew for every try: what was forgotten during a wait is not sent. Refused rows are the oldest that wait.
        page = outbox.page(state.size, len(refused))
        if page.unreadable:
            aside += outbox.put_aside(page.unreadable)
        if not page.rows:
            if page.unreadable:
                continue
            aside += outbox.put_aside(refused)
            return SendReport(sent, aside, outbox.header().waiting)
        keys = [row.key for row in page.rows]
        move = decide(state, len(keys), uplink.post(header, page.rows), limits)
        state = move.state
        if move.action == "acknowledge":
            sent += outbox.acknowledge(keys)
            # The receiver takes other rows: it is these that it cannot take.
            aside += outbox.put_aside(refused)
            refused = []
            advance(sent, header.waiting)
        elif move.action == "pass_over":
            refused += keys
        elif move.action == "wait":
            wait(move.wait_s)
        elif move.action == "stop":
            raise UnavailableError(
                f"{move.why}; {sent} turns were sent, {outbox.header().waiting} go on waiting",
                where="uplink",
                hint="nothing is lost: try again later, or check uplink and uplink_token in settings.toml",
            )


def read_token(path: Path | None) -> str:
    """The uplink's token from its file; empty without one."""
    if path is None:
        return ""
    token = read_text(path).strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InputError("not a token: one line of letters and signs", where=str(path), hint="write the token into it")
    return token
