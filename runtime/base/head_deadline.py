"""Bounds the wait for the head of a server's answer, however slowly its bytes drip.

httpx bounds the wait for each piece that comes; a server that sends a letter a minute would hold an update or an export
for weeks. Promises: a connection whose head is not whole in time is shut down, which ends whoever reads from it with an
error of httpx; bodies, and how long a request takes to be sent, are not bounded here.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

HEAD_S = 100.0
"""From the last byte of a request to the last of the answer's head."""


class HeadDeadline:
    """The deadline of one client, which makes one request at a time.

    httpcore tells through a request's extension `trace` when a connection was made and when it begins to wait.
    """

    def __init__(self, client: httpx.Client, limit_s: float = HEAD_S) -> None:
        self._limit_s = limit_s
        self._connecting: tuple[str, int] | None = None
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        """By host and port: connections stay open from one request to the next."""
        self._timer: threading.Timer | None = None
        client.event_hooks = {"request": [self._watch]}

    def _watch(self, request: httpx.Request) -> None:
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        match event:
            case "connection.connect_tcp.started":
                self._connecting = info["host"], info["port"]
            case "connection.connect_tcp.complete" | "connection.start_tls.complete":
                assert self._connecting
                self._sockets[self._connecting] = info["return_value"].get_extra_info("socket")
            case "http11.receive_response_headers.started":
                origin = info["request"].url.origin
                self._begin(self._sockets.get((origin.host.decode("ascii"), origin.port)))
            case "http11.receive_response_headers.complete" | "http11.receive_response_headers.failed":
                self._end()

    def _begin(self, connection: socket.socket | None) -> None:
        self._end()
        if connection is not None:
            self._timer = threading.Timer(self._limit_s, _cut, (connection,))
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _cut(connection: socket.socket) -> None:
    """End whoever reads from it; closing it would not wake them."""
    with suppress(OSError):  # it may be gone
        # Not the method of TLS's sockets, which takes their state away from under the reader.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
