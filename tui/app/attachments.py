"""A picture that the customer shows: chosen, read by the server, and put into the message for the agent to look at.

Promises: what was read stands in the field before anything is asked, where the agent corrects or deletes it; it reaches
the server as the customer's message and in no other way. Knows nothing of widgets.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from runtime.perception.attachment import read_attachment
from runtime.perception.attachment_text import AttachmentText, asking_part, with_question
from tui.app.boxes import Boxes
from tui.app.view import View
from tui.base.limits import MAX_TEXT_CHARS
from tui.base.picture_files import list_pictures
from tui.screens.finder import FinderResult, FinderScreen
from tui.state import Mode, Typed


class Attachments:
    """The attachments of one console."""

    def __init__(self, view: View, boxes: Boxes) -> None:
        self._view = view
        self._boxes = boxes
        self._newest: AttachmentText | None = None

    def choose(self) -> None:
        """Choose a picture by its path."""

        async def find(typed: str) -> list[FinderResult]:
            paths = await asyncio.to_thread(list_pictures, typed)
            return [FinderResult(path.name, path, str(path.parent)) for path in paths]

        def done(chosen: FinderResult | None) -> None:
            if chosen is not None:
                self.attach(chosen.value)

        self._view.open_box(FinderScreen(self._view.words, "attach.title", find, hint="attach.hint"), done)

    def attach(self, path: Path) -> None:
        """Read a file into the customer's message."""
        if self._view.state.mode is Mode.REPLY:
            self._view.say("attach_reply")
        else:
            self._boxes.run(self._read(path))

    async def _read(self, path: Path) -> None:
        view = self._view
        attachment = await asyncio.to_thread(read_attachment, path)
        view.say("attach_reading", text=attachment.name)
        read = await view.server.read_attachment(attachment)
        message = with_question(view.state.composer, read)
        if view.state.mode is Mode.REPLY:
            view.say("attach_reply")
        elif len(message) > MAX_TEXT_CHARS:
            view.say("too_long", number=MAX_TEXT_CHARS)
        else:
            self._newest = read
            view.dispatch(Typed(message))
            view.show_pane("talk")
            kinds = (f"{view.words(f'entity.{one.kind}')} {one.value}" for one in read.entities)
            view.say("attach_read", number=len(read.lines), text=view.words("attach.comma").join(kinds))

    def asking(self, message: str) -> str | None:
        """What of a message a search should look for, where the newest picture is in it."""
        return asking_part(message, self._newest) if self._newest else None
