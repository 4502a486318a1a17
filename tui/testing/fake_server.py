"""A desk that says what it is told, for tests and for looking at screens without a model.

It enters by the same door as the real client (`tui.services.server_link.Desk`), sends the same events and keeps the
same kind of books (`tui.testing.fake_journal`). Promises: no clock, no socket, no thread; after `hold` an answer goes
on only as `release` lets it, so that a test can look at the screen in the middle of a draft.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from runtime import events
from runtime.errors import MissingError, UnavailableError
from runtime.events import Citation
from tui.state import Health
from tui.testing.fake_journal import FakeJournal


class FakeServer:
    """Scripted answers; `down = True` takes the server away, and a draft that is under way breaks off."""

    def __init__(self, scripts: Iterable[Sequence[events.Event]] = (), article: dict[str, Any] | None = None) -> None:
        self.scripts = list(scripts)
        self.page = article
        self.state = "ready"
        self.down = False
        self.may_start = False
        self.troubles = Health()
        self.books = FakeJournal()
        self.found: list[Citation] = []
        """What a knowledge search finds."""
        self.asked: list[tuple[str, str | None]] = []
        self.typed: list[str] = []
        """What was sent to be read ahead."""
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
        self._need()
        return {"state": self.state, "bundle": "shop", "version": "1", "model": "tiny", "languages": ["en", "zh"]}

    async def health(self, status: dict[str, Any]) -> Health:  # noqa: ARG002 - the door's signature
        """As told."""
        return self.troubles

    async def ask(self, question: str, conversation: str | None) -> AsyncGenerator[events.Event, None]:
        """As `POST /v1/ask`: the next script, event by event."""
        self.asked.append((question, conversation))
        self._need()
        turn = None
        try:
            for event in self.scripts.pop(0):
                if self._held:
                    await self._steps.acquire()
                if self.down:
                    raise UnavailableError("the server went away in the middle")
                if isinstance(event, events.Stored):
                    turn = self.books.ask(conversation or event.conversation, question, event.lang)
                    event = events.Stored(conversation=turn["conversation"], turn=turn["turn"], lang=turn["lang"])
                if turn is not None:
                    self.books.hear(turn, event)
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            if turn is not None:
                turn["state"] = "cancelled"
            raise

    async def typing(self, text: str, conversation: str | None) -> dict[str, Any]:
        """As `POST /v1/typing`: a token a word."""
        self._need()
        self.typed.append(text)
        state = "ready" if text else "nothing"
        return {"conversation": conversation or "c1", "state": state, "tokens": len(text.split())}

    async def article(self, article: str, lang: str) -> dict[str, Any]:
        """As `GET /v1/articles/{id}`."""
        self._need()
        if self.page is None or lang not in ("", self.page["lang"]):
            raise MissingError(f"no article '{article}'")
        return self.page

    async def search(self, text: str, lang: str | None) -> list[Citation]:  # noqa: ARG002 - the door's signature
        """As `GET /v1/search`, in which any shared letter is near enough."""
        self._need()
        return self.found if text else []

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """As the server, out of the books."""
        self._need()
        return self.books.get(path, params)

    async def put(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As the server, into the books."""
        self._need()
        return self.books.put(method, path, body)

    async def close(self) -> None:
        """Remember it."""
        self.closed = True

    def _need(self) -> None:
        if self.down:
            raise UnavailableError("no server is running for this home")


def citation(article: str, section: str, title: str, heading: str, text: str, **more: Any) -> Citation:
    """A citation, in English and public unless told otherwise."""
    rest = {"lang": "en"} | more
    return Citation(article=article, section=section, title=title, heading=heading, text=text, **rest)


def answer(tokens: Sequence[str], citations: Sequence[Citation], **done: Any) -> list[events.Event]:
    """The events of an ordinary answer, in the order the server sends them."""
    end: dict[str, Any] = {"answer": "".join(tokens), "citations": tuple(citations), "model": "tiny"}
    return [
        events.Stored(conversation="c1", turn=1),
        events.SectionsFound(citations=tuple(citations)),
        events.Queued(position=2, wait_s=3.0),
        events.Reading(done=300, total=812),
        *(events.Token(text=token) for token in tokens),
        events.Done(**end | {"ttft_s": 0.4, "tokens_per_s": 25.0} | done),
    ]
