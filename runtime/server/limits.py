"""ASGI middleware around the whole application: who calls, what they may, and one log line a request.

Promises: over TCP nothing is answered without a token, not even that there is no such page; the log says who, what and
how long, and nothing that a customer wrote: a path is logged as its route, without its parameters.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from runtime.errors import EdgedeskError, UnavailableError, UsageError
from runtime.server.access import LOCAL, Caller, required_role
from runtime.server.service import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLimits:
    """Lets a request in, or answers 401 or 403; the caller is in `scope["caller"]`."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 0
        caller: Caller | None = None

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            caller = self._caller(scope)
            if caller is None:
                error = UnavailableError("a token is needed", hint="edgedesk agents add NAME, or see run/token")
                await _refuse(watched, 401, error)
            elif caller.role < required_role(scope["path"]):
                wanted = required_role(scope["path"]).name.lower()
                await _refuse(watched, 403, UsageError(f"this needs the role {wanted}", hint="ask your admin"))
            else:
                scope["caller"] = caller
                await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            # A stopping server ends what is in work after its time, here mostly a body that still comes. Passed on,
            # uvicorn would answer 500 in plain text and write a traceback.
            if status:
                raise
            error = UnavailableError("the server is stopping", hint="send it again when it is back")
            await _refuse(watched, 503, error)
        except Exception as error:
            # Passed on it would stand in uvicorn's log with its message, which may quote a question.
            self._service.log.failure("request", error)
            if not status:
                await _refuse(watched, 500, EdgedeskError("something went wrong inside", hint="see the server's log"))
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            self._service.metrics.request(method, route, status)
            self._service.log.info(
                "request",
                method=method,
                route=route,
                status=status,
                ms=round((time.monotonic() - began) * 1000),
                caller=caller.name if caller else None,
            )

    def _caller(self, scope: Scope) -> Caller | None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        kind, _, token = given.partition(b" ")
        if kind.lower() == b"bearer" and (found := self._service.agents.caller(token.decode("latin-1"))):
            return found
        local = scope["server"] is not None and scope["server"][1] is None
        return LOCAL if local else None


async def _refuse(send: Send, status: int, error: EdgedeskError) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(error.to_dict()).encode()})
