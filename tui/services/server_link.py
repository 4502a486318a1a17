"""What the console needs of a server, and the real one: `ServerLink` is the door, `HttpServerLink` comes in through it.

Promises: every call either answers or raises an `EdgedeskError`; nothing blocks the event loop. What the shapes of the
answers are is told in docs/reference/api.md. Knows nothing of widgets. `tui.testing.fake_server` has a desk that is
told what to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Protocol

from runtime.errors import UnavailableError
from runtime.events import Citation, Event
from tui.services.branch_health import branch_health
from tui.state import Health, Link, Linked

Said = dict[str, Any]


class ServerLink(Protocol):
    """A server that answers questions. Every method may raise an `EdgedeskError`."""

    async def start(self) -> bool:
        """See to it that a server runs, without waiting until it is ready; False where that is not ours to do."""
        ...

    async def status(self) -> Said:
        """`{state, bundle, version, model, languages}`; `UnavailableError` when nobody answers."""
        ...

    async def health(self, status: Said) -> Health:
        """What else goes on in the branch: updates, disk, the engine."""
        ...

    def ask(self, question: str, conversation: str | None) -> AsyncGenerator[Event, None]:
        """The events of one question; closing the generator cancels it on the server within a token."""
        ...

    async def typing(self, text: str, conversation: str | None) -> Said:
        """Let the server read what is being typed: `{conversation, state, tokens}`; an empty text drops it."""
        ...

    async def article(self, article: str, lang: str) -> Said:
        """`{article, title, lang, audience, topic, sections: [citation…]}`."""
        ...

    async def search(self, text: str, lang: str | None) -> list[Citation]:
        """Sections nearest to a text, best first."""
        ...

    async def get(self, path: str, **params: Any) -> Said:
        """Any `GET /v1/{path}`."""
        ...

    async def put(self, method: str, path: str, body: Said) -> Said:
        """`POST`, `PUT` or `PATCH` to `/v1/{path}`."""
        ...

    async def close(self) -> None:
        """Let go of the server; one that was started here is stopped."""
        ...


class HttpServerLink:
    """The server of a home, over its Unix socket."""

    def __init__(self, home: Path, *, socket: Path | None = None, may_start: bool = True) -> None:
        from runtime.client.client import Client
        from runtime.client.server_process import OwnServer

        self.home = home
        self.client = Client(home)
        self.may_start = may_start and socket is None
        if socket is not None:
            self.client.socket = socket
        self._own: OwnServer | None = None

    async def start(self) -> bool:
        """Start a server as a child unless one answers; it is stopped by `close`."""
        if not self.may_start:
            return False
        from runtime.client.server_process import start_server

        self._own = await asyncio.to_thread(start_server, self.home)
        return True

    async def status(self) -> Said:
        """As the server says it; `UnavailableError` with the last words of a child that ended."""
        if self._own is not None:
            self._own.check()
        try:
            return await self.client.status_async()
        except UnavailableError:
            child = self._own.process if self._own is not None else None
            if child is None or child.poll() is not None:
                raise
            return {"state": "starting"}  # It lives, and has not come to its socket yet.

    async def health(self, status: Said) -> Health:
        """Looked up on this machine, beside what the server says of itself."""
        return await asyncio.to_thread(branch_health, self.home, status)

    def ask(self, question: str, conversation: str | None) -> AsyncGenerator[Event, None]:
        """Stream one answer."""
        return self.client.ask_async(question, conversation=conversation)

    async def typing(self, text: str, conversation: str | None) -> Said:
        """Read ahead."""
        return await self.client.typing_async(text, conversation=conversation)

    async def article(self, article: str, lang: str) -> Said:
        """One article, whole."""
        return await self.client.article_async(article, lang or None)

    async def search(self, text: str, lang: str | None) -> list[Citation]:
        """Sections of the articles."""
        return await self.client.search_async(text, lang=lang)

    async def get(self, path: str, **params: Any) -> Said:
        """Read."""
        return await self.client.call_async("GET", f"/v1/{path}", **params)

    async def put(self, method: str, path: str, body: Said) -> Said:
        """Write."""
        return await self.client.call_async(method, f"/v1/{path}", body)

    async def close(self) -> None:
        """Stop our own child, if there is one."""
        if self._own is not None:
            own, self._own = self._own, None
            await asyncio.to_thread(own.close)


def link_event(status: Said, health: Health | None = None) -> Linked:
    """The answer of `GET /v1/status` as an event of the console."""
    link = {"ready": Link.READY, "stopping": Link.STOPPING}.get(str(status.get("state")), Link.STARTING)
    bundle = " ".join(str(status[key]) for key in ("bundle", "version") if status.get(key))
    return Linked(link, bundle=bundle, model=str(status.get("model") or ""), health=health or Health())
