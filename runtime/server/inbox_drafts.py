"""Drafts for messages that arrived while nobody waits: one after the other, in a thread of its own.

Promises: the message is in the journal before its draft is begun, and stays as it is where none comes of it; a draft is
computed only in steps that nobody waits for; when the server stops, the one under way ends within a step. What arrives
while `MOST_WAITING` wait gets no draft ahead. Knows nothing of how a draft is made.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from runtime.errors import EdgedeskError, UnavailableError
from runtime.events import AskRequest
from runtime.journal.stored_turn import TurnKey

if TYPE_CHECKING:
    from runtime.desk.desk import Desk
    from runtime.server.service import Service

MOST_WAITING = 64
"""Each is a text of 20,000 characters at most. Behind so many, a draft comes later than the agent."""


class InboxDrafts:
    """The one writer of them; safe to call from several threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="inbox-drafts")
        self._waiting = 0

    def want(self, desk: Desk, key: TurnKey, request: AskRequest, *, agent: str) -> bool:
        """Draft an answer to a stored message when there is time; False where too many wait already."""
        if self._waiting >= MOST_WAITING:
            return False
        self._waiting += 1
        self._writer.submit(self._draft, desk, key, request, agent)
        return True

    def stop(self) -> None:
        """Begin none of those that wait."""
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _draft(self, desk: Desk, key: TurnKey, request: AskRequest, agent: str) -> None:
        self._waiting -= 1
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
