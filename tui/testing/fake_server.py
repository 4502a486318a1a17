"""A server that answers from a script, for tests and for looking at screens without a model.

It enters by the same door as the real one (`tui.services.server_link.ServerLink`), sends the same events and keeps the
same kind of journal (`tui.testing.fake_journal`). Promises: no clock, no socket, no thread; after `hold` an answer goes
on only as `release` lets it, so that a test can look at the screen in the middle of a draft.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any

from runtime import events
from runtime.client.agents import AgentClient
from runtime.client.answers import ArticlePage, ServerStatus, TypingState
from runtime.errors import InputError, MissingError, UnavailableError
from runtime.events import Citation
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText
from tui.state import Health
from tui.testing.fake_journal import FakeJournal


class FakeAgentClient(AgentClient):
    """The agents' part of the client, answered by a `FakeJournal` instead of a socket."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    async def call_async(self, method: str, path: str, body: Any = None, **params: Any) -> dict[str, Any]:
        """As the server, out of the journal or into it."""
        self._server.need()
        answer = self._server.journal.call(method, path.removeprefix("/v1/"), body, params)
        self._server.after_call(method, path, answer)
        return answer


class FakeServer:
    """Scripted answers; `down = True` takes the server away, and a draft that is under way breaks off."""

    def __init__(self, scripts: Iterable[Sequence[events.Event]] = (), article: dict[str, Any] | None = None) -> None:
        self.scripts = list(scripts)
        self.article_page = article
        self.state = "ready"
        self.down = False
        self.may_start = False
        self.branch_health = Health()
        self.journal = FakeJournal()
        self.agents = FakeAgentClient(self)
        self.search_hits: list[Citation] = []
        """What a knowledge search finds."""
        self.asked: list[tuple[str, str | None]] = []
        self.asking: list[str | None] = []
        """What of each question was to be searched for."""
        self.pictures: dict[str, AttachmentText] = {}
        """What stands in pictures, by their names."""
        self.typed: list[str] = []
        """What was sent to be read ahead."""
        self.paused: list[str] = []
        """Of these, the texts that may be whole."""
        self.cancelled = 0
        self.looks = 0
        """How often somebody asked how the server is."""
        self.starts = 0
        self.closed = False
        self.after_call: Callable[[str, str, dict[str, Any]], None] = lambda *_: None
        """Gets method, path and answer of each call before its caller does: what happens meanwhile in a test."""
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

    async def status(self) -> ServerStatus:
        """As `GET /v1/status`."""
        self.looks += 1
        self.need()
        return ServerStatus(state=self.state, bundle="shop", version="1", model="tiny")

    async def health(self, status: ServerStatus) -> Health:  # noqa: ARG002 - the door's signature
        """What the test set."""
        return self.branch_health

    async def ask(
        self, question: str, conversation: str | None, asking: str | None = None
    ) -> AsyncGenerator[events.Event, None]:
        """As `POST /v1/ask`: the next script, event by event."""
        self.asked.append((question, conversation))
        self.asking.append(asking)
        self.need()
        turn, name = None, ""
        try:
            for event in self.scripts.pop(0):
                if self._held:
                    await self._steps.acquire()
                if self.down:
                    raise UnavailableError("the server went away in the middle")
                if isinstance(event, events.Stored):
                    name = conversation or event.conversation
                    turn = self.journal.ask(name, question, event.lang)
                    event = events.Stored(conversation=name, turn=turn["turn"], lang=turn["lang"])
                if turn is not None:
                    self.journal.hear(name, turn, event)
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            if turn is not None:
                turn["state"] = "cancelled"
            raise

    async def typing(self, text: str, conversation: str | None, *, paused: bool) -> TypingState:
        """As `POST /v1/typing`: a token a word."""
        self.need()
        self.typed.append(text)
        if paused:
            self.paused.append(text)
        state = "ready" if text else "nothing"
        return TypingState(conversation=conversation or "c1", state=state, tokens=len(text.split()))

    async def article(self, article: str, lang: str) -> ArticlePage:
        """As `GET /v1/articles/{id}`."""
        self.need()
        if self.article_page is None or lang not in ("", self.article_page["lang"]):
            raise MissingError(f"no article '{article}'")
        return ArticlePage.parse(self.article_page)

    async def search(self, text: str, lang: str | None) -> list[Citation]:  # noqa: ARG002 - the door's signature
        """As `GET /v1/search`, in which any shared letter is near enough."""
        self.need()
        return self.search_hits if text else []

    async def read_attachment(self, attachment: Attachment) -> AttachmentText:
        """As `POST /v1/attachments/read`."""
        self.need()
        if attachment.name not in self.pictures:
            raise InputError("no text was found in it", where=attachment.name)
        return self.pictures[attachment.name]

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def need(self) -> None:
        """`UnavailableError` while the server is away."""
        if self.down:
            raise UnavailableError("no server is running for this home")


def citation(article: str, section: str, title: str, heading: str, text: str, **more: Any) -> Citation:
    """A citation, in English and public by default."""
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
