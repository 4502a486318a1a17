"""What the console needs of a server, and the real one: `ServerLink` is the door, `HttpServerLink` comes in through it.

Promises: every call either answers or raises an `EdgedeskError`; nothing blocks the event loop; a server that was
started here is stopped by `close`, whatever happened in between. docs/reference/api.md describes the answers. Knows
nothing of widgets. `tui.testing.fake_server` plays a server from a script.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol

from runtime.client.agents import AgentClient
from runtime.client.answers import ArticlePage, ServerStatus, TypingState
from runtime.client.client import Client
from runtime.client.server_process import OwnServer, start_server
from runtime.errors import UnavailableError
from runtime.events import Citation, Event
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText
from tui.services.branch_health import branch_health
from tui.state import Health, Link, Linked


class ServerLink(Protocol):
    """A server that answers questions. Every method may raise an `EdgedeskError`."""

    @property
    def agents(self) -> AgentClient:
        """The inbox, verdicts, hand-offs, canned replies, unsent text."""
        ...

    async def start(self) -> bool:
        """See to it that a server runs, without waiting until it is ready; False where that is not ours to do."""
        ...

    async def status(self) -> ServerStatus:
        """How the server is; `UnavailableError` when nobody answers."""
        ...

    async def health(self, status: ServerStatus) -> Health:
        """The state of the branch besides the server: updates, disk, the engine."""
        ...

    def ask(self, question: str, conversation: str | None, asking: str | None) -> AsyncGenerator[Event, None]:
        """The events of one question; closing the generator cancels it on the server within a token.

        `asking` are its lines that ask, where the others were read from a picture.
        """
        ...

    async def typing(self, text: str, conversation: str | None, *, paused: bool) -> TypingState:
        """Let the server read what is being typed, and answer it when its writer `paused`; an empty text drops all."""
        ...

    async def article(self, article: str, lang: str) -> ArticlePage:
        """One article with all its sections; an empty `lang` means any language."""
        ...

    async def search(self, text: str, lang: str | None) -> list[Citation]:
        """Sections nearest to a text, best first."""
        ...

    async def read_attachment(self, attachment: Attachment) -> AttachmentText:
        """What a picture says; nothing of it is kept."""
        ...

    async def close(self) -> None:
        """Let go of the server; one that was started here is stopped."""
        ...


class HttpServerLink:
    """The server of a home, over its Unix socket."""

    def __init__(
        self,
        home: Path,
        *,
        socket: Path | None = None,
        may_start: bool = True,
        start_child: Callable[[Path], OwnServer] = start_server,
    ) -> None:
        """`socket` names a server elsewhere, which is never started; `start_child` finds or starts one for the home."""
        self.home = home
        self._start_child = start_child
        self.client = Client(home)
        self.may_start = may_start and socket is None
        if socket is not None:
            self.client.socket = socket
        self._own: OwnServer | None = None

    @property
    def agents(self) -> AgentClient:
        """The client of the same server."""
        return self.client

    async def start(self) -> bool:
        """Start a server as a child unless one answers; it is stopped by `close`."""
        if not self.may_start:
            return False
        if self._own is not None and self._own.is_running():
            # Ours lives. Starting another would find the home taken, and forget the child that `close` must stop.
            return True
        try:
            self._own = await asyncio.to_thread(self._start_child, self.home)
        except OSError as error:
            raise UnavailableError(
                f"no server can be started: {error.strerror or error}",
                where=str(self.home),
                hint="the branch's folder must belong to this user",
            ) from None
        return True

    async def status(self) -> ServerStatus:
        """How the server is; `UnavailableError` with the last words of a child that ended."""
        if self._own is not None:
            self._own.check()
        try:
            return ServerStatus.parse(await self.client.status_async())
        except UnavailableError:
            if self._own is None or not self._own.is_running():
                raise
            return ServerStatus(state="starting")  # It lives, and has not come to its socket yet.

    async def health(self, status: ServerStatus) -> Health:
        """Looked up on this machine, besides what the server says of itself."""
        return await asyncio.to_thread(branch_health, self.home, status)

    def ask(self, question: str, conversation: str | None, asking: str | None) -> AsyncGenerator[Event, None]:
        """Stream one answer."""
        return self.client.ask_async(question, conversation=conversation, asking=asking)

    async def typing(self, text: str, conversation: str | None, *, paused: bool) -> TypingState:
        """Read and answer ahead."""
        return TypingState.parse(await self.client.typing_async(text, conversation=conversation, paused=paused))

    async def article(self, article: str, lang: str) -> ArticlePage:
        """One article, whole."""
        return ArticlePage.parse(await self.client.article_async(article, lang or None))

    async def search(self, text: str, lang: str | None) -> list[Citation]:
        """Sections of the articles."""
        return await self.client.search_async(text, lang=lang)

    async def read_attachment(self, attachment: Attachment) -> AttachmentText:
        """Read it."""
        return await self.client.read_attachment_async(attachment)

    async def close(self) -> None:
        """Stop our own child, if there is one."""
        if self._own is not None:
            own, self._own = self._own, None
            await asyncio.to_thread(own.close)


def link_event(status: ServerStatus, health: Health | None = None) -> Linked:
    """The answer of `GET /v1/status` as an event of the console."""
    link = {"ready": Link.READY, "stopping": Link.STOPPING}.get(status.state, Link.STARTING)
    bundle = " ".join(part for part in (status.bundle, status.version) if part)
    return Linked(link, bundle=bundle, model=status.model or "", health=health or Health())
