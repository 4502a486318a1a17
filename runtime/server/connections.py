"""The sockets the server listens on, and what an unknown peer may hold of them.

A connection costs a descriptor before anybody has shown a token. So a TCP port has at most so many connections, a
request's head and body must arrive in time, and descriptors are kept back: whatever strangers do to the port, the
owner's Unix socket answers. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.base.home import reachable
from runtime.errors import UsageError

MAX_TCP_CONNECTIONS = 512
RESERVED_DESCRIPTORS = 128
"""For journal, index, engine, log and the Unix socket."""
LEAST_TCP_CONNECTIONS = 16
HEAD_TIMEOUT_S = 10.0
"""From the connection to the last byte of a request's head; TLS's handshake has as long."""
BODY_TIMEOUT_S = 30.0


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose request does not arrive in time, however slowly its bytes drip."""

    head_timeout_s = HEAD_TIMEOUT_S
    body_timeout_s = BODY_TIMEOUT_S
    _timed: Any = None
    """The state of the peer that the timer runs for."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._watch_time()

    def data_received(self, data: bytes) -> None:
        """Read on; a new state of the request has a time of its own, more bytes of the old one do not."""
        super().data_received(data)
        self._watch_time()

    def on_response_complete(self) -> None:
        """Begin to wait for the next head."""
        super().on_response_complete()
        self._watch_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _watch_time(self) -> None:
        state = self.conn.their_state
        if state is self._timed:
            return
        self._timed = state
        if self._timer is not None:
            self._timer.cancel()
        allowed = {h11.IDLE: self.head_timeout_s, h11.SEND_BODY: self.body_timeout_s}.get(state)
        self._timer = self.loop.call_later(allowed, self.transport.abort) if allowed else None


class BoundedListener(socket.socket):
    """A listening socket that closes what comes in above its limit, before TLS and HTTP spend anything on it."""

    def __init__(self, listener: socket.socket, limit: int) -> None:
        """Takes the listener's descriptor over."""
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.detach())
        self._limit = limit
        self._count = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; `BlockingIOError`, as if there were none, for one above the limit."""
        handle, address = self._accept()  # type: ignore[attr-defined]
        connection = _CountedSocket(self, handle)
        if self._count > self._limit:
            connection.close()
            raise BlockingIOError
        return connection, address

    def released(self) -> None:
        """A connection was closed."""
        self._count -= 1

    def taken(self) -> None:
        """A connection was accepted."""
        self._count += 1


class _CountedSocket(socket.socket):
    def __init__(self, listener: BoundedListener, handle: int) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=handle)
        self._listener: BoundedListener | None = listener
        listener.taken()

    def close(self) -> None:
        super().close()
        if self._listener is not None:
            self._listener.released()
            self._listener = None


def tcp_connection_limit() -> int:
    """How many connections a port may have, so that descriptors are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_TCP_CONNECTIONS
    return max(LEAST_TCP_CONNECTIONS, min(MAX_TCP_CONNECTIONS, soft - RESERVED_DESCRIPTORS))


@contextmanager
def listen_unix(path: Path) -> Iterator[socket.socket]:
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
def listen_tcp(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket with a bound on its connections; `UsageError` when the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            plain.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host} port {port} cannot be used ({error.strerror})",
                where="--host, --port",
                hint="choose another, or port 0 for any",
            ) from None
        with BoundedListener(plain, tcp_connection_limit()) as listener:
            yield listener
