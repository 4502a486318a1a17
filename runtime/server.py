"""The branch's server: the desk behind HTTP on a Unix socket, and on 127.0.0.1 with a token if asked.

    POST /v1/ask               AskRequest -> NDJSON events (runtime.events); closing the connection cancels
    GET  /v1/status            {state, bundle, version, model, languages, active}
    GET  /v1/articles/ID       ?lang=   {article, title, lang, audience, topic, sections: [citation…]}
    GET  /v1/search            ?q= &lang= &limit=   {citations: [citation…]}
    GET  /livez, /readyz       200 or 503

Promises: one server a home; the socket is owner-only; without the token nobody gets in over TCP; every refusal is the
error's JSON; a stop ends all streams and leaves no socket behind. Knows nothing of how answers are made.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from runtime.desk import Desk, open_desk
from runtime.errors import (
    BusyError,
    EdgedeskError,
    InputError,
    MissingError,
    UnavailableError,
    UsageError,
)
from runtime.events import AskRequest, Citation, Done, Event, Failed
from runtime.home import hold, reachable, run_folder, socket_path
from runtime.record import describe
from runtime.settings import Settings
from runtime.store import current_bundle

MAX_BODY_BYTES = 256 * 1024
"""Far above any question; what is longer is not read."""
MAX_SEARCH = 50
STOP_TIMEOUT_S = 5
"""How long a stopping server waits for connections to end."""
DRAIN_TIMEOUT_S = 30
"""And for cancelled answers: one core reads a batch for a 13B model in less."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _OversizedError(InputError):
    """An `InputError` for which HTTP has a status of its own."""


class Service:
    """What the endpoints share: the desk once it is there, and the answers in work."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.bundle = current_bundle(home)
        self.settings = settings
        self.desk: Desk | None = None
        self.stopping = False
        self._active: set[threading.Event] = set()
        self._changed = threading.Condition()

    @property
    def state(self) -> str:
        """`starting`, `ready` or `stopping`."""
        return "stopping" if self.stopping else "ready" if self.desk else "starting"

    def ready_desk(self) -> Desk:
        """The desk, or `UnavailableError` while there is none."""
        if self.desk is None or self.stopping:
            raise UnavailableError(f"the server is {self.state}", hint="try again in a moment")
        return self.desk

    def begin(self) -> threading.Event:
        """A place for one more answer; the event cancels it. `UnavailableError` when all are taken."""
        with self._changed:
            if len(self._active) > self.settings.queue_limit:
                raise UnavailableError(f"{len(self._active)} questions are in work", hint="ask again in a moment")
            cancel = threading.Event()
            self._active.add(cancel)
            return cancel

    def finish(self, cancel: threading.Event) -> None:
        """Give the place back."""
        with self._changed:
            self._active.discard(cancel)
            self._changed.notify_all()

    def stop(self) -> None:
        """Cancel everything in work."""
        self.stopping = True
        for cancel in tuple(self._active):
            cancel.set()

    def drain(self) -> None:
        """Wait until what was cancelled is in the journal: at most a batch of reading."""
        with self._changed:
            self._changed.wait_for(lambda: not self._active, timeout=DRAIN_TIMEOUT_S)

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        info = self.bundle.info
        return {
            "state": self.state,
            "bundle": info.name,
            "version": info.version,
            "model": Path(info.model).stem,
            "languages": list(self.bundle.prompt.languages),
            "active": len(self._active),
        }


class EventStream(Response):
    """An ASGI response that runs an answer in a thread and sends its events; a client gone cancels it at once."""

    def __init__(self, service: Service, desk: Desk, request: AskRequest) -> None:
        super().__init__(media_type="application/x-ndjson")
        self._service = service
        self._cancel = service.begin()
        self._events = desk.ask(request, self._cancel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the events until the last one, or until nobody listens."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        thread = threading.Thread(target=self._run, args=(loop, queue), name="answer", daemon=True)
        thread.start()
        watch = asyncio.create_task(self._watch(receive))
        try:
            headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            ended = False
            while (event := await queue.get()) is not None and not self._service.stopping:
                ended = isinstance(event, Done | Failed)
                await send({"type": "http.response.body", "body": event.line(), "more_body": True})
            if self._service.stopping and not ended:
                line = Failed.of(UnavailableError("the server is stopping", hint="ask again when it is back")).line()
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._cancel.set()
            watch.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._cancel.set()

    def _run(self, loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Event | None]) -> None:
        def put(event: Event | None) -> None:
            # The loop may be gone when a stop did not wait for a slow step.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(queue.put_nowait, event)

        try:
            for event in self._events:
                put(event)
        except Exception as error:
            print(f"edgedesk: an answer failed: {error!r}", file=sys.stderr)  # noqa: T201 - the server's log
            put(Failed.of(EdgedeskError("something went wrong inside", hint="the server's log says what")))
        finally:
            self._service.finish(self._cancel)
            put(None)


def create_app(service: Service) -> FastAPI:
    """The endpoints."""
    # No documentation pages: they load their scripts from the network.
    app = FastAPI(title="Edgedesk", docs_url=None, redoc_url=None)

    @app.exception_handler(EdgedeskError)
    async def refuse(_: Request, error: EdgedeskError) -> JSONResponse:
        return _refusal(error)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _refusal(InputError(f"parameter '{first['loc'][-1]}': {first['msg'].lower()}"))

    @app.get("/livez")
    async def livez() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/readyz")
    async def readyz() -> dict[str, bool]:
        service.ready_desk()
        return {"ok": True}

    @app.get("/v1/status")
    async def status() -> dict[str, Any]:
        return service.status()

    @app.get("/v1/articles/{article}")
    def article(article: str, lang: str | None = None) -> dict[str, Any]:
        found = service.ready_desk().retriever.article(article, lang)
        return {
            "article": found.id,
            "title": found.title,
            "lang": found.lang,
            "audience": found.audience,
            "topic": found.topic,
            "sections": [Citation.of(section).model_dump() for section in found.sections],
        }

    @app.get("/v1/search")
    def search(q: str, lang: str | None = None, limit: int = 10) -> dict[str, Any]:
        desk = service.ready_desk()
        desk.admit(AskRequest(question=q or " "))
        hits = desk.retriever.search(q, lang=lang, limit=max(1, min(limit, MAX_SEARCH)))
        return {"citations": [Citation.of(hit.section, hit.score).model_dump() for hit in hits]}

    @app.post("/v1/ask", response_model=None)
    async def ask(request: Request) -> EventStream:
        desk = service.ready_desk()
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _OversizedError(f"over {MAX_BODY_BYTES // 1024} KiB", hint="ask a shorter question")
        try:
            question = AskRequest.model_validate_json(bytes(body))
        except ValidationError as error:
            raise InputError(describe(error), hint='send {"question": "…"}') from None
        try:
            await asyncio.to_thread(desk.admit, question)
        except InputError as error:
            raise _OversizedError(error.what, hint=error.hint) from None
        return EventStream(service, desk, question)

    return app


def _refusal(error: EdgedeskError) -> JSONResponse:
    kinds: tuple[tuple[type[EdgedeskError], int], ...] = (
        (_OversizedError, 413),
        (InputError, 422),
        (MissingError, 404),
        (BusyError, 409),
        (UnavailableError, 503),
    )
    status = next((code for kind, code in kinds if isinstance(error, kind)), 500)
    said = error.as_dict()
    if isinstance(error, _OversizedError):
        said["error"] = InputError.__name__
    return JSONResponse(said, status_code=status)


class TokenGuard:
    """ASGI middleware: a connection that is not the Unix socket's needs `Authorization: Bearer TOKEN`."""

    def __init__(self, app: Any, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401."""
        local = scope["type"] == "http" and scope["server"] is not None and scope["server"][1] is None
        if scope["type"] == "lifespan" or local or self._allowed(scope):
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        body = (
            b'{"error":"UnavailableError","what":"a token is needed","where":"","hint":"see run/token","exit_code":9}'
        )
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _allowed(self, scope: Scope) -> bool:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        wanted = f"Bearer {self._token}".encode()
        return self._token is not None and hmac.compare_digest(given, wanted)


def serve(home: Path, settings: Settings, *, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    `say` hears one line when the server listens and one when it is ready. Raises `BusyError` when another process owns
    the home, `MissingError` without a bundle, and whatever keeps the model from loading.
    """

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002 - the library's signature
            service.stop()
            if self.should_exit and sig == signal.SIGINT:
                self.force_exit = True
            # The signal is not kept, or uvicorn would raise it again and skip our clean-up.
            self.should_exit = True

    with ExitStack() as stack:
        stack.enter_context(hold(home, "serve"))
        service = Service(home, settings)
        sockets = [stack.enter_context(_unix_socket(socket_path(home)))]
        token = None
        if settings.port is not None:
            token = _token(home)
            sockets.append(stack.enter_context(_tcp_socket(settings.port)))
            say(f"listening on 127.0.0.1:{sockets[1].getsockname()[1]}, token in {run_folder(home) / 'token'}")
        config = uvicorn.Config(
            TokenGuard(create_app(service), token),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        server = Server(config)
        loader = _Loader(service, home, settings, server, say)
        say(f"listening on {socket_path(home)}")
        loader.start()
        try:
            server.run(sockets=sockets)
        finally:
            service.stop()
            loader.end()
        if loader.error is not None:
            raise loader.error


class _Loader(threading.Thread):
    """Opens the desk beside the listening server, keeps it open until the end, and closes it in the same thread."""

    def __init__(
        self, service: Service, home: Path, settings: Settings, server: Any, say: Callable[[str], None]
    ) -> None:
        super().__init__(name="loader", daemon=True)
        self.error: BaseException | None = None
        self._done = threading.Event()
        self._parts = (service, home, settings, server, say)

    def run(self) -> None:
        service, home, settings, server, say = self._parts
        try:
            with open_desk(home, settings) as desk:
                service.desk = desk
                if desk.journal.salvaged:
                    say(str(desk.journal.salvaged))
                say(f"ready: {desk.model}")
                self._done.wait()
                service.desk = None
                service.drain()
        except BaseException as error:
            self.error = error
            server.should_exit = True

    def end(self) -> None:
        """Close the desk; answers in work were cancelled and end within a step."""
        self._done.set()
        self.join()


@contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    """A listening socket only its owner may connect to; the caller holds the home's lock, so an old one is stale."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # The folder is owner-only too, so nobody connects between bind and chmod.
        with reachable(path) as name:
            listener.bind(name)
        path.chmod(0o600)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _tcp_socket(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be used ({error.strerror})", where="--port", hint="choose another, or 0 for any"
            ) from None
        yield listener


def _token(home: Path) -> str:
    """The home's token, made on first use, in a file only its owner reads."""
    path = run_folder(home) / "token"
    with suppress(FileNotFoundError):
        if token := path.read_text().strip():
            path.chmod(0o600)
            return token
    token = secrets.token_urlsafe(32)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(token + "\n")
    return token
