"""A desk that says what it is told, for tests and for looking at screens without a model.

It enters by the same door as the real client (`tui.desk.Desk`) and sends the same events. Promises: no clock, no
socket, no thread; after `hold` an answer goes on only as `release` lets it, so that a test can look at the screen in
the middle of a draft.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from runtime import events
from runtime.errors import MissingError, UnavailableError


class FakeDesk:
    """Scripted answers; `down = True` takes the server away, and a draft that is under way breaks off."""

    def __init__(self, scripts: Iterable[Sequence[events.Event]] = (), article: dict[str, Any] | None = None) -> None:
        self.scripts = list(scripts)
        self.page = article
        self.state = "ready"
        self.down = False
        self.may_start = False
        self.asked: list[tuple[str, str | None]] = []
        self.cancelled = 0
        self.starts = 0
        self.closed = False
        self._held = False
        self._steps = asyncio.Semaphore(0)

    def hold(self) -> None:
        """From now on send an event only for each `release`."""
        self._held = True

    def release(self, count: int = 1) -> None:
        """Let so many events go."""
        for _ in range(count):
            self._steps.release()

    async def start(self) -> bool:
        """A server that is down comes up if it may, and is `starting` first."""
        self.starts += 1
        if self.may_start:
            self.down = False
            self.state = "starting"
        return self.may_start

    async def status(self) -> dict[str, Any]:
        """As `GET /v1/status`."""
        if self.down:
            raise UnavailableError("no server is running for this home")
        return {"state": self.state, "bundle": "shop", "version": "1", "model": "tiny", "languages": ["en", "zh"]}

    async def ask(self, question: str, conversation: str | None) -> AsyncGenerator[events.Event, None]:
        """As `POST /v1/ask`: the next script, event by event."""
        self.asked.append((question, conversation))
        try:
            for event in self.scripts.pop(0):
                if self._held:
                    await self._steps.acquire()
                if self.down:
                    raise UnavailableError("the server went away in the middle")
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    async def article(self, article: str, lang: str) -> dict[str, Any]:
        """As `GET /v1/articles/{id}`."""
        if self.page is None or lang not in ("", self.page["lang"]):
            raise MissingError(f"no article '{article}'")
        return self.page

    async def close(self) -> None:
        """Remember it."""
        self.closed = True


def citation(article: str, section: str, title: str, heading: str, text: str, **more: Any) -> events.Citation:
    """A citation, in English and public unless told otherwise."""
    rest = {"lang": "en"} | more
    return events.Citation(article=article, section=section, title=title, heading=heading, text=text, **rest)


def answer(tokens: Sequence[str], citations: Sequence[events.Citation], **done: Any) -> list[events.Event]:
    """The events of an ordinary answer, in the order the server sends them."""
    end: dict[str, Any] = {"answer": "".join(tokens), "citations": tuple(citations), "model": "tiny"}
    return [
        events.Stored(conversation="c1", turn=1),
        events.Queued(position=2),
        events.Found(citations=tuple(citations)),
        *(events.Token(text=token) for token in tokens),
        events.Done(**end | {"ttft_s": 0.4, "tokens_per_s": 25.0} | done),
    ]
