"""The branch's server: its HTTP interface on a Unix socket, and on a TCP port if asked.

Promises: one server a home; the socket is owner-only; without a token nobody gets in over TCP, and without TLS nobody
from another machine; a stop ends all streams and leaves no socket behind. Knows nothing of how answers are made.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from runtime.base.home import lock_home, run_folder, socket_path
from runtime.base.service_manager import notify
from runtime.base.settings import Settings
from runtime.errors import MissingError, UsageError
from runtime.server.access import master_token
from runtime.server.app import create_app
from runtime.server.connections import HEAD_TIMEOUT_S, TimedProtocol, listen_tcp, listen_unix
from runtime.server.service import Service
from runtime.server.supervisor import DeskSupervisor

STOP_TIMEOUT_S = 5
"""How long a stopping server waits for connections to end."""


def serve(home: Path, settings: Settings, *, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    `say` hears one line when the server listens and one when it is ready. Raises `BusyError` when another process owns
    the home, `MissingError` without a bundle, `UsageError` for an address that may not be opened so, and whatever keeps
    the model from loading.
    """
    check_address(settings)
    with ExitStack() as stack:
        stack.enter_context(lock_home(home, "serve"))
        service = Service(home, settings)
        app = create_app(service)
        servers = _Servers(service)
        servers.add(app, stack.enter_context(listen_unix(socket_path(home))))
        if settings.port is not None:
            if settings.tls_key is not None:
                require_private(settings.tls_key)
            service.agents.master = master_token(home)
            listener = stack.enter_context(listen_tcp(settings.host, settings.port))
            servers.add(app, listener, cert=settings.tls_cert, key=settings.tls_key)
            shown = f"[{settings.host}]" if ":" in settings.host else settings.host
            say(f"listening on {shown}:{listener.getsockname()[1]}, token in {run_folder(home) / 'token'}")
        supervisor = DeskSupervisor(service, home, settings, servers, say)
        say(f"listening on {socket_path(home)}")
        supervisor.start()
        try:
            asyncio.run(servers.run())
        finally:
            notify("STOPPING=1")
            service.stop()
            supervisor.end()
        if supervisor.error is not None:
            raise supervisor.error


def check_address(settings: Settings) -> None:
    """`UsageError` for a port that strangers could listen in on: off this machine only with TLS."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise UsageError("a certificate and its key belong together", where="tls_cert, tls_key", hint="give both")
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None and not path.is_file():
            raise MissingError("no such file", where=str(path), hint="check tls_cert and tls_key")
    try:
        address = ipaddress.ip_address(settings.host)
    except ValueError:
        raise UsageError(f"'{settings.host}' is no address", where="--host", hint="such as 127.0.0.1 or ::1") from None
    if settings.port is not None and not address.is_loopback and settings.tls_cert is None:
        raise UsageError(
            f"{settings.host} can be reached from other machines and needs TLS",
            where="--host",
            hint="set tls_cert and tls_key in settings.toml, or listen on 127.0.0.1",
        )


def require_private(key: Path) -> None:
    """`UsageError` for a key that other users of the machine may read."""
    mode = key.stat().st_mode & 0o777
    if mode & 0o077:
        raise UsageError(f"other users may read the key (mode {mode:o})", where=str(key), hint=f"chmod 600 {key}")


class _Servers:
    """One uvicorn server for each socket, since only TCP speaks TLS; they start and stop together."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._servers: list[tuple[_Server, socket.socket]] = []

    def add(self, app: Any, listener: socket.socket, *, cert: Path | None = None, key: Path | None = None) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=TimedProtocol,
            ws="none",
            lifespan="off",
            # A warning is written for every stranger's bytes that are no HTTP; they are counted as requests anyway.
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        self._servers.append((_Server(config), listener))

    def stop(self) -> None:
        """End all, from any thread."""
        for server, _ in self._servers:
            server.should_exit = True

    def _signal(self, sign: int) -> None:
        self._service.stop()
        for server, _ in self._servers:
            server.force_exit = server.should_exit and sign == signal.SIGINT
        self.stop()

    async def run(self) -> None:
        """Until all have ended."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, self._signal, sign)
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in self._servers))


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, for sockets that are open already, but a TLS handshake has no more time than a head."""
        loop, config = asyncio.get_running_loop(), self.config

        def protocol() -> asyncio.Protocol:
            return TimedProtocol(config=config, server_state=self.server_state, app_state={}, _loop=loop)

        limit = HEAD_TIMEOUT_S if config.ssl else None
        self.servers = [
            await loop.create_server(
                protocol, sock=one, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=limit
            )
            for one in sockets or ()
        ]
        self.started = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `_Servers`' matter: uvicorn would raise them again at the end and skip our clean-up."""
        yield
