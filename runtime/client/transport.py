"""How the client reaches its server: over the home's Unix socket, errors as the classes they were there.

Promises: every way in which a server can be absent, not ready or gone is one `UnavailableError` that says which.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from runtime.base.home import owner_name, reachable, socket_path
from runtime.errors import EdgedeskError, UnavailableError, UsageError, from_dict

TIMEOUT = httpx.Timeout(10.0, read=None)
"""No limit on reading: a prompt may take a minute to read; a dead server closes the socket by itself."""
_SHORT = httpx.Timeout(10.0)
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used on a Unix socket; without it httpx reads all root certificates at every call, for 20 ms."""
_BASE = "http://edgedesk"


class Transport:
    """Requests to the server of one home. Cheap to make; nothing is opened before a call."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = socket_path(home)

    async def call_async(self, method: str, path: str, body: Any = None, **params: Any) -> dict[str, Any]:
        """Any endpoint of docs/reference/api.md, for an event loop."""
        return await self._send_async(method, path, body, **params)

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
            return answer_of(http.get(path, params=_given(params)))

    async def _get_async(self, path: str, **params: Any) -> dict[str, Any]:
        return await self._send_async("GET", path, **params)

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        with self._http() as http:
            return answer_of(http.post(path, json=_given(body)))

    async def _post_async(self, path: str, **body: Any) -> dict[str, Any]:
        return await self._send_async("POST", path, _given(body))

    async def _send_async(self, method: str, path: str, body: Any = None, **params: Any) -> dict[str, Any]:
        async with self._http_async() as http:
            return answer_of(await http.request(method, path, params=_given(params), json=body))


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
    except PermissionError:
        owner = owner_name(home)
        raise UsageError(
            f"the server of this branch belongs to {owner} and may not be opened by this user",
            where=str(path),
            hint=f"run the command as that user (sudo -u {owner} edgedesk …), or name a branch of your own with --home",
        ) from None
    except (OSError, httpx.ConnectError, httpx.ConnectTimeout):
        raise UnavailableError(
            "no server is running for this home", where=str(home), hint="start one: edgedesk serve"
        ) from None
    except httpx.TransportError as error:
        raise cut() from error


def cut() -> UnavailableError:
    """A stream or a request ended without an end."""
    return UnavailableError(
        "the server went away in the middle", hint="what was written so far is in its journal; ask again"
    )


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if value is not None}


def answer_of(got: httpx.Response) -> dict[str, Any]:
    """What the server answered, or its refusal as the error it was there."""
    if got.status_code != httpx.codes.OK:
        raise error_of(got)
    said: dict[str, Any] = got.json()
    return said


def error_of(got: httpx.Response) -> EdgedeskError:
    """A refusal as the error it was on the server."""
    try:
        return from_dict(got.json())
    except (ValueError, KeyError, TypeError):
        return UnavailableError(f"the server answered with status {got.status_code}", hint="see its log")
