"""Runs an answer in a thread and hands its events to the event loop; a client that is gone cancels it at once.

Promises: the place is given back however it ends; a stop of the server ends the stream with an error event; what goes
wrong inside is logged without a word of the question.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

from fastapi import Response

from runtime.desk.desk import Desk
from runtime.errors import EdgedeskError, UnavailableError
from runtime.events import AskRequest, Done, Event, Failed, Stored
from runtime.server.limits import Receive, Scope, Send
from runtime.server.service import Service


class Answer:
    """One answer in the making; `events()` may be iterated once, `cancel()` stops it within a token."""

    def __init__(self, service: Service, desk: Desk, request: AskRequest, agent: str) -> None:
        self._service = service
        self._request = request
        self._flag = service.begin()
        self._events = desk.ask(request, self._flag, agent=agent)
        self._started = False

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._flag.set()
        if not self._started:
            self._service.finish(self._flag)

    async def events(self) -> AsyncIterator[Event]:
        """The events until the last; a stopping server adds an error of its own."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._started = True
        threading.Thread(target=self._run, args=(loop, queue), name="answer", daemon=True).start()
        ended = False
        try:
            while (event := await queue.get()) is not None and not self._service.stopping:
                ended = isinstance(event, Done | Failed)
                yield event
            if self._service.stopping and not ended:
                yield Failed.of(UnavailableError("the server is stopping", hint="ask again when it is back"))
        finally:
            self.cancel()

    def _run(self, loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Event | None]) -> None:
        def put(event: Event | None) -> None:
            # The loop may be gone when a stop did not wait for a slow step.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(queue.put_nowait, event)

        last: Event | None = None
        stored: Stored | None = None
        try:
            for event in self._events:
                last = event
                stored = event if isinstance(event, Stored) else stored
                if isinstance(event, Done | Failed):
                    self._count(event, stored)
                put(event)
        except Exception as error:
            self._service.log.failure("answer", error)
            last = Failed.of(EdgedeskError("something went wrong inside", hint="the server's log says what"))
            self._count(last, stored)
            put(last)
        finally:
            if not isinstance(last, Done | Failed):
                self._count(None, stored)
            self._service.finish(self._flag)
            put(None)

    def _count(self, last: Done | Failed | None, stored: Stored | None) -> None:
        """Into the figures and the log; words only where the settings ask for them."""
        done = last if isinstance(last, Done) else None
        ended = "cancelled" if last is None else "answered" if done else "failed"
        lang = stored.lang if stored else ""
        self._service.metrics.answer(lang, done, ended)
        said: dict[str, Any] = {"ended": ended, "lang": lang}
        if stored:
            said |= {"conversation": stored.conversation, "turn": stored.turn}
        if done:
            said |= {"handoff": done.handoff, "ttft_s": done.ttft_s, "tokens": done.answer_tokens, "model": done.model}
        if isinstance(last, Failed):
            said |= {"error": last.error}
        if self._service.log.text:
            said |= {"question": self._request.question, "answer": done.answer if done else ""}
        self._service.log.info("answer", **said)


class EventStream(Response):
    """An ASGI response of one answer; `lines` turns its events into what is sent."""

    def __init__(self, answer: Answer, media_type: str, lines: Callable[[Event], Iterator[bytes]]) -> None:
        super().__init__(media_type=media_type)
        self._answer = answer
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send until the last event, or until nobody listens."""
        watch = asyncio.create_task(self._watch(receive))
        events = self._answer.events()
        try:
            headers = [(b"content-type", (self.media_type or "").encode()), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for event in events:
                for line in self._lines(event):
                    await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._answer.cancel()
            watch.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._answer.cancel()


async def collect_answer(answer: Answer, see: Callable[[Event], None], request_gone: Callable[[], Any]) -> Event | None:
    """The last event of an answer that is not streamed; `see` hears all, `request_gone()` ends when the client left."""
    watch = asyncio.create_task(request_gone())
    watch.add_done_callback(lambda _: answer.cancel())
    last = None
    try:
        async for event in answer.events():
            see(event)
            last = event
    finally:
        watch.cancel()
    return last
