"""Drafts for messages that arrived while nobody waits: one after the other, in a thread of its own.

Promises: the message is in the journal before its draft is begun, and stays as it is where none comes of it; a draft is
computed only in steps that nobody waits for; when the server stops, the one under way ends within a step. What arrives
while `MOST_WAITING` wait gets no draft ahead. Knows nothing of how a draft is made.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from runtime.errors import EdgedeskError, UnavailableError
from runtime.events import AskRequest
from runtime.journal.stored_turn import TurnKey

if TYPE_CHECKING:
    from runtime.desk.desk import Desk
    from runtime.server.log import Log

MOST_WAITING = 64
"""Each is a text of 20,000 characters at most. Behind so many, a draft comes later than the agent."""


class Places(Protocol):
    """What of `runtime.server.service.Service` it needs: a place for each answer, which a stop cancels."""

    desk: Desk | None
    stopping: bool
    log: Log

    def begin(self) -> threading.Event:
        """A place; the event cancels what has it. `UnavailableError` when all are taken."""
        ...

    def finish(self, cancel: threading.Event) -> None:
        """Give the place back."""
        ...


class InboxDrafts:
    """The one writer of them; safe to call from several threads."""

    def __init__(self, service: Places) -> None:
        self._service = service
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="inbox-drafts")
        self._wanted: set[Future[None]] = set()

    def want(self, desk: Desk, key: TurnKey, request: AskRequest, *, agent: str) -> bool:
        """Draft an answer to a stored message when there is time; False where too many wait, or the server stops."""
        if len(self._wanted) > MOST_WAITING or self._service.stopping:
            return False
        try:
            future = self._writer.submit(self._draft, desk, key, request, agent)
        except RuntimeError:
            return False  # stopped just now
        self._wanted.add(future)
        future.add_done_callback(self._wanted.discard)  # cancelled ones too
        return True

    def stop(self) -> None:
        """Begin none of those that wait."""
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _draft(self, desk: Desk, key: TurnKey, request: AskRequest, agent: str) -> None:
        service = self._service
        try:
            cancel = service.begin()
        except UnavailableError:
            return  # so much is asked that nobody should wait for this as well
        try:
            # Another desk has another journal to write to and another model; a message of its predecessor waits.
            if service.desk is desk and not service.stopping:
                desk.draft_message(key, request, cancel, agent=agent)
        except EdgedeskError as error:
            service.log.failure("inbox draft", error)
        finally:
            service.finish(cancel)
