"""The outbox of a branch whose server is running, for `edgedesk feedback`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice

from pydantic import ValidationError

from runtime.client.transport import Transport
from runtime.errors import UnavailableError
from runtime.feedback.export_file import ExportHeader
from runtime.journal.outbox import OutboxPage, OutboxRow

KEYS_AT_ONCE = 1000
"""As many as the server takes in a call."""


class ServerOutbox(Transport):
    """An `Outgoing` (`runtime.feedback.outgoing`) over the home's socket."""

    def header(self) -> ExportHeader:
        """Who exports, and from what."""
        with _of_our_form():
            return ExportHeader.model_validate(self._get("/v1/outbox/about"))

    def page(self, limit: int, skip: int = 0) -> OutboxPage:
        """Turns that wait, oldest first, after the first `skip`."""
        said = self._get("/v1/outbox", limit=limit, skip=skip)
        with _of_our_form():
            rows = tuple(OutboxRow.model_validate(row) for row in said["rows"])
        return OutboxPage(rows, tuple(said.get("unreadable", ())))

    def acknowledge(self, keys: Collection[str]) -> int:
        """These have arrived."""
        return sum(int(self._post("/v1/outbox/sent", keys=some)["sent"]) for some in _portions(keys))

    def put_aside(self, keys: Collection[str]) -> int:
        """These cannot leave as they are."""
        return sum(int(self._post("/v1/outbox/aside", keys=some)["aside"]) for some in _portions(keys))

    def still_waiting(self, keys: Collection[str]) -> Collection[str]:
        """Of these, those that were neither forgotten nor changed meanwhile."""
        return {one for some in _portions(keys) for one in self._post("/v1/outbox/waiting", keys=some)["waiting"]}

    def release_aside(self) -> int:
        """What was set aside waits again."""
        return int(self._post("/v1/outbox/release")["released"])


@contextmanager
def _of_our_form() -> Iterator[None]:
    try:
        yield
    except ValidationError:
        raise UnavailableError(
            "the server's answer has an unknown form", hint="it may be of another version: restart the server"
        ) from None


def _portions(keys: Collection[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while some := list(islice(left, KEYS_AT_ONCE)):
        yield some
