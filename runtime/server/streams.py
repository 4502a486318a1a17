"""Runs an answer in a thread and hands its events to the event loop; a client that is gone cancels it at once.

Promises: the place is given back however it ends; a stop of the server ends the stream with an error event; what goes
wrong inside is logged without a word of the question.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import Response

from runtime.desk.desk import Desk
from runtime.errors import EdgedeskError, UnavailableError
from runtime.events import AskRequest, Done, Event, Failed, Stored
from runtime.server.limits import Receive, Scope, Send
from runtime.server.sent_limits import limit_events
from runtime.server.service import Service

Result = TypeVar("Result")
_OUR_NAME = re.compile(r"[0-9a-f]{32}")


class AnswerStream:
    """One answer in the making; `events()` may be iterated once, `cancel()` stops it within a token."""

    def __init__(self, service: Service, desk: Desk, request: AskRequest, agent: str) -> None:
        self._service = service
        self._request = request
        self._flag = service.begin()
        vocab = desk.engine.vocab
        events = desk.ask(request, self._flag, agent=agent)
        self._events = limit_events(events, request, lambda text: len(vocab.encode(text, control=False)))
        self._started = False

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._flag.set()
        if not self._started:
            self._service.finish(self._flag)

    async def events(self, idle_s: float | None = None) -> AsyncIterator[Event | None]:
        """The events until the last; a stopping server adds an error of its own.

        With `idle_s` there is a None whenever so many seconds have gone by without an event.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._started = True
        threading.Thread(target=self._run, args=(loop, queue), name="answer", daemon=True).start()
        ended = False
        try:
            while not self._service.stopping:
                try:
                    event = await asyncio.wait_for(queue.get(), idle_s)
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    break
                if not self._service.stopping:
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
            said |= {"turn": stored.turn}
            # A name that a client gave may be a phone number; ours are 32 hexadecimal digits.
            if _OUR_NAME.fullmatch(stored.conversation):
                said |= {"conversation": stored.conversation}
        if done:
            said |= {"handoff": done.handoff, "ttft_s": done.ttft_s, "tokens": done.answer_tokens, "model": done.model}
        if isinstance(last, Failed):
            said |= {"error": last.error}
        if self._service.log.text:
            said |= {"question": self._request.question, "answer": done.answer if done else ""}
        self._service.log.info("answer", **said)


class EventStream(Response):
    """An ASGI response of one answer."""

    def __init__(
        self,
        answer: AnswerStream,
        media_type: str,
        to_bytes: Callable[[Event | None], Iterator[bytes]],
        *,
        idle_s: float | None = None,
    ) -> None:
        """`to_bytes` makes what is sent of an event, and of None when `idle_s` have gone by without one."""
        super().__init__(media_type=media_type)
        self._answer = answer
        self._to_bytes = to_bytes
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send until the last event, or until nobody listens."""
        try:
            async with cancelled_when_gone(self._answer, receive):
                headers = [(b"content-type", (self.media_type or "").encode()), (b"cache-control", b"no-store")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                async for event in self._answer.events(self._idle_s):
                    for part in self._to_bytes(event):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._answer.cancel()


async def collect_answer(answer: AnswerStream, observe: Callable[[Event], None], receive: Receive) -> Event | None:
    """The last event of an answer that is not streamed; `observe` hears all, and a client that leaves cancels."""
    last = None
    async with cancelled_when_gone(answer, receive):
        async for event in answer.events():
            if event is not None:
                observe(event)
                last = event
    return last


async def run_while_connected(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """The result of `work`; when the client leaves or the server stops, it is cancelled: `UnavailableError`."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise UnavailableError("the client left", hint="ask again")
        return task.result()
    except asyncio.CancelledError:
        # A stopping server cancels what is still in work after its time to end; nobody else cancels a request.
        raise UnavailableError("the server is stopping", hint="send it again when it is back") from None
    finally:
        task.cancel()
        gone.cancel()


@asynccontextmanager
async def cancelled_when_gone(answer: AnswerStream, receive: Receive) -> AsyncIterator[None]:
    """Cancel the answer as soon as its client has left."""
    gone = asyncio.create_task(_disconnected(receive))
    gone.add_done_callback(lambda _: answer.cancel())
    try:
        yield
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
