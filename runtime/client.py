"""The client of the branch's server: events of an answer, and what else the console and `ask` need, over its socket.

Promises: a server that is not there, not ready, or gone in the middle is an `UnavailableError` that says which;
errors of the server are raised as the classes they were there. Every method is there twice: plain, and with `_async`.
Knows nothing of models.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from runtime.errors import EdgedeskError, UnavailableError
from runtime.events import AskRequest, Citation, Done, Event, Failed, parse_event, rebuild
from runtime.home import reachable, run_folder, socket_path

START_TIMEOUT_S = 120.0
"""A 13B model on a slow disk is read in less."""
_TIMEOUT = httpx.Timeout(10.0, read=None)
"""No limit on reading: a prompt may take a minute to read; a dead server closes the socket by itself."""
_SHORT = httpx.Timeout(10.0)


class Client:
    """Talks to the server of one home. Cheap to make; nothing is opened before a call."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = socket_path(home)

    def ask(self, question: str, **options: Any) -> Iterator[Event]:
        """Events of one answer; `options` are the other fields of `AskRequest`. Closing the iterator cancels.

        An `error` event is given out like any other; a stream cut without an end raises `UnavailableError`.
        """
        body = AskRequest(question=question, **options).model_dump(exclude_none=True)
        with self._sync() as http, self._friendly(), http.stream("POST", "/v1/ask", json=body, timeout=_TIMEOUT) as got:
            if got.status_code != httpx.codes.OK:
                got.read()
                raise _error(got)
            for line in got.iter_lines():
                event = parse_event(line)
                yield event
                if isinstance(event, Done | Failed):
                    return
        raise _cut()

    async def ask_async(self, question: str, **options: Any) -> AsyncIterator[Event]:
        """`ask`, for an event loop."""
        body = AskRequest(question=question, **options).model_dump(exclude_none=True)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(self._async())
            stack.enter_context(self._friendly())
            got = await stack.enter_async_context(http.stream("POST", "/v1/ask", json=body, timeout=_TIMEOUT))
            if got.status_code != httpx.codes.OK:
                await got.aread()
                raise _error(got)
            async for line in got.aiter_lines():
                event = parse_event(line)
                yield event
                if isinstance(event, Done | Failed):
                    return
        raise _cut()

    def status(self) -> dict[str, Any]:
        """`{state, bundle, version, model, languages}`; state is `starting`, `ready` or `stopping`."""
        return self._get("/v1/status")

    async def status_async(self) -> dict[str, Any]:
        """`status`, for an event loop."""
        return await self._get_async("/v1/status")

    def article(self, article: str, lang: str | None = None) -> dict[str, Any]:
        """`{article, title, lang, audience, topic, sections: [citation…]}`; `MissingError` when there is none."""
        return self._get(f"/v1/articles/{article}", lang=lang)

    async def article_async(self, article: str, lang: str | None = None) -> dict[str, Any]:
        """`article`, for an event loop."""
        return await self._get_async(f"/v1/articles/{article}", lang=lang)

    def search(self, question: str, *, lang: str | None = None, limit: int = 10) -> list[Citation]:
        """Sections nearest to a question, best first."""
        found = self._get("/v1/search", q=question, lang=lang, limit=limit)
        return [Citation.model_validate(item) for item in found["citations"]]

    async def search_async(self, question: str, *, lang: str | None = None, limit: int = 10) -> list[Citation]:
        """`search`, for an event loop."""
        found = await self._get_async("/v1/search", q=question, lang=lang, limit=limit)
        return [Citation.model_validate(item) for item in found["citations"]]

    def is_alive(self) -> bool:
        """Whether a server answers at all, ready or not."""
        try:
            self._get("/livez")
        except UnavailableError:
            return False
        return True

    def is_ready(self) -> bool:
        """Whether a server is there and can answer questions."""
        try:
            self._get("/readyz")
        except UnavailableError:
            return False
        return True

    def _sync(self) -> _Sync:
        return _Sync(self.socket)

    def _async(self) -> _Async:
        return _Async(self.socket)

    def _friendly(self) -> _Friendly:
        return _Friendly(self.home)

    def _get(self, path: str, **params: Any) -> Any:
        with self._sync() as http, self._friendly():
            return _read(http.get(path, params=_given(params), timeout=_SHORT))

    async def _get_async(self, path: str, **params: Any) -> Any:
        async with self._async() as http:
            with self._friendly():
                return _read(await http.get(path, params=_given(params), timeout=_SHORT))


class _Sync(ExitStack):
    """An httpx client on the socket, and the short name of the socket while it is open."""

    def __init__(self, socket: Path) -> None:
        super().__init__()
        self.socket = socket

    def __enter__(self) -> httpx.Client:  # type: ignore[override]
        uds = self.enter_context(reachable(self.socket))
        transport = httpx.HTTPTransport(uds=uds)
        return self.enter_context(httpx.Client(transport=transport, base_url="http://edgedesk", trust_env=False))


class _Async(AsyncExitStack):
    """`_Sync` for an event loop."""

    def __init__(self, socket: Path) -> None:
        super().__init__()
        self.socket = socket

    async def __aenter__(self) -> httpx.AsyncClient:  # type: ignore[override]
        uds = self.enter_context(reachable(self.socket))
        transport = httpx.AsyncHTTPTransport(uds=uds)
        http = httpx.AsyncClient(transport=transport, base_url="http://edgedesk", trust_env=False)
        return await self.enter_async_context(http)


class _Friendly:
    """Turns httpx's errors into one `UnavailableError` that says whether the server is absent or gone."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise UnavailableError(
                "no server is running for this home", where=str(self.home), hint="start one: edgedesk serve"
            ) from None
        if isinstance(error, httpx.TransportError):
            raise _cut() from error


def _cut() -> UnavailableError:
    return UnavailableError(
        "the server went away in the middle", hint="what was written so far is in its journal; ask again"
    )


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if value is not None}


def _read(got: httpx.Response) -> Any:
    if got.status_code != httpx.codes.OK:
        raise _error(got)
    return got.json()


def _error(got: httpx.Response) -> EdgedeskError:
    try:
        said = got.json()
        return rebuild(str(said["error"]), str(said["what"]), str(said["where"]), str(said["hint"]))
    except (ValueError, KeyError, TypeError):
        return UnavailableError(f"the server answered with status {got.status_code}", hint="see its log")


class OwnServer:
    """A server that `ensure_server` found or started. `close` stops it only if it was started here."""

    def __init__(self, client: Client, process: subprocess.Popen[bytes] | None) -> None:
        self.client = client
        self.process = process

    def close(self) -> None:
        """SIGTERM to our own child, and wait for it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Client:
        return self.client

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def ensure_server(home: Path, *, timeout_s: float = START_TIMEOUT_S) -> OwnServer:
    """A ready server for the home: the running one, or a child started here (`with ensure_server(home) as client:`).

    Waits until it is ready. A child that ends instead raises `UnavailableError` with the end of its log
    (`run/serve.log`); so does the time limit.
    """
    client = Client(home)
    process: subprocess.Popen[bytes] | None = None
    log = run_folder(home) / "serve.log"
    deadline = time.monotonic() + timeout_s
    try:
        if not client.is_alive():
            with log.open("wb") as output:
                log.chmod(0o600)
                command = [sys.executable, "-m", "runtime.cli", "serve", "--home", str(home)]
                # A session of its own: Ctrl-C in the console must not reach the server.
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
        while not client.is_ready():
            if process is not None and process.poll() is not None and not client.is_alive():
                raise UnavailableError(
                    f"the server did not start: {_last_words(log)}", where=str(home), hint=f"the whole log: {log}"
                )
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the server was not ready after {timeout_s:.0f} s", where=str(home), hint=f"its log: {log}"
                )
            time.sleep(0.05)
    except BaseException:
        OwnServer(client, process).close()
        raise
    return OwnServer(client, process)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return " ".join(said[-3:])[-500:] or "it said nothing"
