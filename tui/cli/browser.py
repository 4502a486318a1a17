"""The console in a browser on this machine, through textual-serve (`pip install 'edgedesk[browser]'`).

Promises: it listens on loopback only. A page of another origin, a host name that is not this machine's, and a request
without the printed address's token get 403: other users of the machine reach loopback too, and any web page can ask a
browser to. Nothing is loaded from anywhere else, which the page's own policy forbids besides. Knows nothing of what the
console shows: each page runs a console of its own.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import MissingError, UnavailableError

if TYPE_CHECKING:
    from aiohttp import web

HOST = "127.0.0.1"
Handler = Callable[[Any], Awaitable[Any]]


def refused(host: str, origin: str, token: str, port: int, secret: str) -> str:
    """Why a request is refused, from its headers and its cookie or query; empty = it is served. Pure."""
    if host not in (f"{HOST}:{port}", f"localhost:{port}"):
        return "another host"
    if origin and origin != f"http://{host}":
        return "another origin"
    if not hmac.compare_digest(token.encode(), secret.encode()):
        return "open the address that the console printed"
    return ""


def policy(port: int) -> str:
    """The page's content security policy: this machine and nothing else."""
    sockets = f"ws://{HOST}:{port} ws://localhost:{port}"
    own = "'self' 'unsafe-inline'"
    return (
        f"default-src 'none'; script-src 'self'; style-src {own}; font-src 'self' data:; img-src 'self' data:; "
        f"connect-src 'self' {sockets}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def serve(command: Sequence[str], port: int) -> None:
    """Serve until Ctrl-C; the address is printed to stderr."""
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise MissingError(
            "textual-serve is not installed", where="console --browser", hint="pip install 'edgedesk[browser]'"
        ) from None
    import shlex

    secret, cookie = secrets.token_urlsafe(24), f"edgedesk-{port}"

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        first = request.query.get("token", "")
        token = first or request.cookies.get(cookie, "")
        why = refused(request.host, request.headers.get("Origin", ""), token, port, secret)
        if why:
            return web.Response(status=403, text=f"{why}\n")
        if first:  # From here on the cookie, so that the address can be shown to anybody.
            moved = web.HTTPFound("/")
            moved.set_cookie(cookie, secret, httponly=True, samesite="Strict")
            return moved
        answer: web.StreamResponse = await handler(request)
        if not answer.prepared:
            answer.headers["Content-Security-Policy"] = policy(port)
            answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    class Pages(Server):
        """textual-serve with the guard in front of it and a page of our own."""

        async def _make_app(self) -> web.Application:
            app = await super()._make_app()
            app.middlewares.append(guard)
            return app

        async def on_startup(self, _: web.Application) -> None:
            """Say where, and nothing else."""
            sys.stderr.write(f"console: http://{HOST}:{port}/?token={secret}   (Ctrl-C ends it)\n")
            sys.stderr.flush()

        def initialize_logging(self) -> None:
            """What goes wrong is on the page."""

    line = _listen(port)
    pages = Pages(shlex.join(command), HOST, port, title="Edgedesk", templates_path=Path(__file__).parent / "templates")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, pages.request_exit)
    web.run_app(pages._make_app(), sock=line, handle_signals=False, loop=loop, print=lambda *_: None)


def _listen(port: int) -> socket.socket:
    """Whoever comes from now on is waited upon, so that the address may be printed."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        line.bind((HOST, port))
    except OSError as error:
        line.close()
        raise UnavailableError(
            f"port {port} cannot be had: {error.strerror}", where="--browser", hint="name another port"
        ) from None
    line.listen()
    return line
