"""Reads pictures and hears recordings for the server's clients, one at a time, and remembers what pictures said.

Promises: of all pictures and recordings one is worked on at once, so their memory is that of one; at most `MAX_HELD`
requests with them are on their way here, wait or are worked on, and another is refused before its bytes are read; where
the client leaves or the server stops, the work ends; of an attachment only its text is remembered, in memory, by the
SHA-256 of its bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from runtime.errors import UnavailableError
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText
from runtime.perception.bounded_child import ChildHandle
from runtime.perception.hear_recording import hear_recording
from runtime.perception.perceive import perceive
from runtime.perception.speech_models import SpeechModels
from runtime.text.personal_data import PersonalRules

MAX_HELD = 4
"""Requests. Each takes some seconds of work, and holds up to 32 MiB until it has been done."""
REMEMBERED = 32


class AttachmentQueue:
    """The one reader of a server; used from its event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="attachments")
        # Waited for in the loop and not in the executor, whose queue would keep the bytes of clients that have left.
        self._turn = asyncio.Lock()
        self._held = 0
        self._texts: OrderedDict[str, AttachmentText] = OrderedDict()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for the attachments of one request, taken before they are in memory and until they are not.

        `UnavailableError` where none is free.
        """
        if self._held >= MAX_HELD:
            raise UnavailableError(
                f"{self._held} requests with pictures or recordings are in work", hint="send it again in a moment"
            )
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def read(self, attachment: Attachment, rules: PersonalRules) -> AttachmentText:
        """What a picture says; the errors of `perceive`. The caller holds a place."""
        if known := self.known(attachment):
            return known
        read = await self._work(lambda child: perceive(attachment, rules, threads=self._threads, child=child))
        self._texts[_name(attachment)] = read
        while len(self._texts) > REMEMBERED:
            self._texts.popitem(last=False)
        return read

    async def hear(self, recording: Attachment, models: SpeechModels, lang: str) -> AttachmentText:
        """What is said in a recording; the errors of `hear_recording`. The caller holds a place."""
        return await self._work(lambda child: hear_recording(recording, models, lang, child=child))

    def known(self, attachment: Attachment) -> AttachmentText | None:
        """What it said when it was read before, where that is still remembered."""
        name = _name(attachment)
        if (found := self._texts.get(name)) is not None:
            self._texts.move_to_end(name)
        return found

    async def _work(self, work: Callable[[ChildHandle], AttachmentText]) -> AttachmentText:
        child = ChildHandle()
        async with self._turn:
            done = asyncio.get_running_loop().run_in_executor(self._reader, work, child)
            try:
                return await asyncio.shield(done)
            finally:
                child.end()
                # A client that leaves goes only now: the next attachment must not begin beside a process that ends.
                await asyncio.wait((done,))
                _ = done.cancelled() or done.exception()  # nobody else may be there to hear it


def _name(attachment: Attachment) -> str:
    return hashlib.sha256(attachment.data).hexdigest()
