"""The client of the branch's server: events of an answer, and what else the console and `ask` need, over its socket.

Promises: a server that is not there, not ready, or gone in the middle is an `UnavailableError` that says which;
errors of the server are raised as the classes they were there. Every method is there twice: plain, and with `_async`.
Knows nothing of models.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from runtime.errors import EdgedeskError, ExitCode, UnavailableError
from runtime.events import Citation, Done, Event, Failed, make_request, parse_event, rebuild
from runtime.home import reachable, run_folder, socket_path

START_TIMEOUT_S = 120.0
"""A 13B model on a slow disk is read in less."""
_TIMEOUT = httpx.Timeout(10.0, read=None)
"""No limit on reading: a prompt may take a minute to read; a dead server closes the socket by itself."""
_SHORT = httpx.Timeout(10.0)
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used on a Unix socket; without it httpx reads all root certificates at every call, for 20 ms."""
_BASE = "http://edgedesk"


class Client:
    """Talks to the server of one home. Cheap to make; nothing is opened before a call."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = socket_path(home)

    def ask(self, question: str, **options: Any) -> Iterator[Event]:
        """Events of one answer; `options` are the other fields of `AskRequest`. Closing the iterator cancels.

        An `error` event is given out like any other; a stream cut without an end raises `UnavailableError`.
        """
        body = make_request(question=question, **options).model_dump(exclude_none=True)
        with self._http() as http, http.stream("POST", "/v1/ask", json=body, timeout=_TIMEOUT) as got:
            if got.status_code != httpx.codes.OK:
                got.read()
                raise _error(got)
            for line in got.iter_lines():
                event = parse_event(line)
                yield event
                if isinstance(event, Done | Failed):
                    return
        raise _cut()

    async def ask_async(self, question: str, **options: Any) -> AsyncGenerator[Event, None]:
        """`ask`, for an event loop."""
        body = make_request(question=question, **options).model_dump(exclude_none=True)
        async with self._http_async() as http, http.stream("POST", "/v1/ask", json=body, timeout=_TIMEOUT) as got:
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

    def typing(self, text: str, *, conversation: str | None = None, lang: str | None = None) -> dict[str, Any]:
        """Have what is typed read ahead: `{conversation, state, tokens}`. The question should bear that conversation.

        To be called when a word more is there, not at every key; with an empty text when its writer has gone.
        """
        return self._post("/v1/typing", text=text, conversation=conversation, lang=lang)

    async def typing_async(
        self, text: str, *, conversation: str | None = None, lang: str | None = None
    ) -> dict[str, Any]:
        """`typing`, for an event loop."""
        return await self._post_async("/v1/typing", text=text, conversation=conversation, lang=lang)

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

    @contextmanager
    def _http(self) -> Iterator[httpx.Client]:
        with _reach(self.socket, self.home) as uds:
            transport = httpx.HTTPTransport(uds=uds, verify=_NO_TLS)
            with httpx.Client(transport=transport, base_url=_BASE, trust_env=False, timeout=_SHORT) as http:
                yield http

    @asynccontextmanager
    async def _http_async(self) -> AsyncIterator[httpx.AsyncClient]:
        with _reach(self.socket, self.home) as uds:
            transport = httpx.AsyncHTTPTransport(uds=uds, verify=_NO_TLS)
            async with httpx.AsyncClient(transport=transport, base_url=_BASE, trust_env=False, timeout=_SHORT) as http:
                yield http

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        with self._http() as http:
            return _read(http.get(path, params=_given(params)))

    async def _get_async(self, path: str, **params: Any) -> dict[str, Any]:
        async with self._http_async() as http:
            return _read(await http.get(path, params=_given(params)))

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        with self._http() as http:
            return _read(http.post(path, json=_given(body)))

    async def _post_async(self, path: str, **body: Any) -> dict[str, Any]:
        async with self._http_async() as http:
            return _read(await http.post(path, json=_given(body)))


@contextmanager
def _reach(path: Path, home: Path) -> Iterator[str]:
    """The socket's name for httpx; every way in which a server can be absent or gone is one `UnavailableError`.

    A connection is tried first: httpx leaves the socket of a refused one open until it is collected.
    """
    try:
        with reachable(path) as name:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(name)
            yield name
    except (OSError, httpx.ConnectError, httpx.ConnectTimeout):
        raise UnavailableError(
            "no server is running for this home", where=str(home), hint="start one: edgedesk serve"
        ) from None
    except httpx.TransportError as error:
        raise _cut() from error


def _cut() -> UnavailableError:
    return UnavailableError(
        "the server went away in the middle", hint="what was written so far is in its journal; ask again"
    )


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if value is not None}


def _read(got: httpx.Response) -> dict[str, Any]:
    if got.status_code != httpx.codes.OK:
        raise _error(got)
    said: dict[str, Any] = got.json()
    return said


def _error(got: httpx.Response) -> EdgedeskError:
    try:
        said = got.json()
        return rebuild(str(said["error"]), str(said["what"]), str(said["where"]), str(said["hint"]))
    except (ValueError, KeyError, TypeError):
        return UnavailableError(f"the server answered with status {got.status_code}", hint="see its log")


class OwnServer:
    """A server that was found or started here. `close` stops it only if it was started here."""

    def __init__(self, client: Client, process: subprocess.Popen[bytes] | None) -> None:
        self.client = client
        self.process = process

    def check(self) -> None:
        """`UnavailableError` with the end of its log when the child started here has ended.

        A child that found the home taken lost a race against another start: that server is the one to wait for.
        """
        if self.process is not None and self.process.poll() not in (None, ExitCode.BUSY):
            home = self.client.home
            log = run_folder(home) / "serve.log"
            raise UnavailableError(
                f"the server did not start: {_last_words(log)}", where=str(home), hint=f"the whole log: {log}"
            )

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


def start_server(home: Path) -> OwnServer:
    """The running server of a home, or a child started here; does not wait until it is ready."""
    client = Client(home)
    if client.is_alive():
        return OwnServer(client, None)
    log = run_folder(home) / "serve.log"
    with log.open("wb") as output:
        log.chmod(0o600)
        command = [sys.executable, "-m", "runtime.cli", "serve", "--home", str(home)]
        # A session of its own: Ctrl-C in the console must not reach the server.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    return OwnServer(client, process)


def ensure_server(home: Path, *, timeout_s: float = START_TIMEOUT_S) -> OwnServer:
    """A ready server for the home: the running one, or a child started here. Use it with `with`: it gives a `Client`.

    Waits until it is ready. A child that ends instead raises `UnavailableError` with the end of its log
    (`run/serve.log`); so does the time limit.
    """
    deadline = time.monotonic() + timeout_s
    own = start_server(home)
    try:
        while not own.client.is_ready():
            own.check()
            if time.monotonic() > deadline:
                log = run_folder(home) / "serve.log"
                raise UnavailableError(
                    f"the server was not ready after {timeout_s:.0f} s", where=str(home), hint=f"its log: {log}"
                )
            time.sleep(0.05)
    except BaseException:
        own.close()
        raise
    return own


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return " ".join(said[-3:])[-500:] or "it said nothing"
