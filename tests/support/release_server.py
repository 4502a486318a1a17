"""A static HTTP server on loopback with a release, and the ways in which a server may misbehave.

The socket is real, so that what is tested is what a branch meets: a library's own limits, cut connections, framing.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PIECE = b"x" * (1 << 16)


class Request:
    """One request, to be answered once."""

    def __init__(self, handler: BaseHTTPRequestHandler, server: ReleaseServer) -> None:
        self._handler, self._server = handler, server
        self.name = handler.path.lstrip("/")
        found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        self.start = int(found[1]) if found else 0

    @property
    def path(self) -> Path:
        """The release's own file of that name."""
        return self._server.folder / self.name

    def answer(self, status: int, body: bytes = b"", length: int | None = -1, **headers: str) -> None:
        """Send an answer; `length` is what it claims: -1 = the truth, None = nothing, and the connection ends it."""
        self._handler.send_response_only(status)
        self._handler.send_header("Connection", "close")
        if length is not None:
            self._handler.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self.send(body)

    def send(self, data: bytes) -> None:
        """More of the body, or bytes that are no HTTP."""
        self._handler.wfile.write(data)
        self._server.sent += len(data)

    def file(self, *, cut_after: int | None = None, ranges: bool = True) -> None:
        """The release's own file, from where it is asked for; cut off after so many bytes of the body."""
        if ".." in self.name or not self.path.is_file():
            self.answer(404)
            return
        data = self.path.read_bytes()
        start = self.start if ranges else 0
        if start and start >= len(data):
            self.answer(416)
            return
        rest = data[start:]
        self.answer(206 if start else 200, rest[:cut_after], length=len(rest))


Behaviour = Callable[[Request], None]


@dataclass
class ReleaseServer:
    """A server that a test may turn against the branch."""

    folder: Path
    url: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Names, and from which byte on."""
    sent: int = 0
    """Bytes of bodies."""
    behave: Behaviour = lambda request: request.file()
    """How it answers."""
    only: str = ""
    """Of which files, as a pattern; all others are answered rightly."""

    def turn(self, behave: Behaviour, only: str = "") -> None:
        self.behave, self.only, self.sent = behave, only, 0
        self.asked.clear()

    def heal(self) -> None:
        self.turn(lambda request: request.file())


@contextmanager
def release_server(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[ReleaseServer]:
    """Serve a folder; with a certificate and its key over https."""
    state = ReleaseServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            request = Request(self, state)
            state.asked.append((request.name, request.start))
            try:
                if re.search(state.only, request.name):
                    state.behave(request)
                else:
                    request.file()
            except OSError:
                pass  # the branch has hung up

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a handshake that the branch refuses

    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def endless(request: Request) -> None:
    """Data without an end."""
    request.answer(200, length=None)
    while True:
        request.send(PIECE)


def redirect_to(url: str) -> Behaviour:
    def redirect(request: Request) -> None:
        request.answer(302, Location=f"{url}/{request.name}")

    return redirect


def status(code: int, body: bytes = b"<html>no</html>", **headers: str) -> Behaviour:
    return lambda request: request.answer(code, body, **headers)


def too_short(request: Request) -> None:
    """Half of the file, as if it were all."""
    data = (request.path).read_bytes()
    request.answer(200, data[: len(data) // 2])


def too_long(request: Request) -> None:
    """The file with something behind it."""
    request.answer(200, (request.path).read_bytes() + PIECE)


def other_bytes(request: Request) -> None:
    """As many bytes, and none of them right."""
    request.answer(200, bytes((request.path).stat().st_size))


def other_range(request: Request) -> None:
    """What it was asked for from a byte on, from the beginning, and says it was what was wanted."""
    data = (request.path).read_bytes()
    request.answer(206 if request.start else 200, data)


def no_http(request: Request) -> None:
    request.send(b"\x00\xff SSH-2.0 hello\r\n\r\n")


def endless_header(request: Request) -> None:
    """A header line without an end."""
    request.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        request.send(PIECE)


def hang_up(request: Request) -> None:
    """No answer at all."""


def single_bytes(request: Request) -> None:
    """The file byte for byte, each in a packet of its own."""
    data = (request.path).read_bytes()
    request.answer(200, length=len(data))
    for place in range(len(data)):
        request.send(data[place : place + 1])


def dripping_head(request: Request) -> None:
    """A letter of the head at a time, none of them late; in the end, if anybody waits for it, the right answer."""
    request.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    pace = threading.Event()
    for _ in range(1000):
        request.send(b"x")
        pace.wait(0.02)
    data = request.path.read_bytes()
    request.send(b"\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
