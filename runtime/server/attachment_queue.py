"""Reads attachments for the server's clients, one at a time, and remembers for a while what the last ones said.

Promises: two pictures are never read at once, so their memory is that of one; who would have to wait behind too many is
refused; where the client leaves or the server stops, the reading ends; of an attachment only its text is remembered, in
memory, by the SHA-256 of its bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

from runtime.errors import UnavailableError
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText
from runtime.perception.bounded_child import ChildHandle
from runtime.perception.perceive import perceive
from runtime.text.personal_data import PersonalRules

MAX_WAITING = 4
"""Each takes some seconds, and its bytes lie in memory while it waits."""
REMEMBERED = 32


class AttachmentQueue:
    """The one reader of a server; used from its event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # One worker, and no lock: a client that leaves would let a lock go before its picture's process has ended.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="attachments")
        self._waiting: set[Future[AttachmentText]] = set()
        self._texts: OrderedDict[str, AttachmentText] = OrderedDict()

    async def read(self, attachment: Attachment, rules: PersonalRules) -> AttachmentText:
        """What it says; the errors of `perceive`, and `UnavailableError` where too many wait."""
        if known := self.known(attachment):
            return known
        if len(self._waiting) >= MAX_WAITING:
            raise UnavailableError(
                f"{len(self._waiting)} attachments wait to be read", hint="send it again in a moment"
            )
        child = ChildHandle()
        future = self._reader.submit(perceive, attachment, rules, threads=self._threads, child=child)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)  # cancelled ones too
        try:
            read = await asyncio.wrap_future(future)
        finally:
            child.end()
        self._texts[_name(attachment)] = read
        while len(self._texts) > REMEMBERED:
            self._texts.popitem(last=False)
        return read

    def known(self, attachment: Attachment) -> AttachmentText | None:
        """What it said when it was read before, where that is still remembered."""
        name = _name(attachment)
        if (found := self._texts.get(name)) is not None:
            self._texts.move_to_end(name)
        return found


def _name(attachment: Attachment) -> str:
    return hashlib.sha256(attachment.data).hexdigest()
