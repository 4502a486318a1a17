"""The branch's server: the HTTP interface of `runtime.api` on a Unix socket, and on a TCP port if asked.

Promises: one server a home; the socket is owner-only; without a token nobody gets in over TCP, and without TLS nobody
from another machine; a stop ends all streams and leaves no socket behind. Knows nothing of how answers are made.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from runtime.base.home import lock_home, reachable, run_folder, socket_path
from runtime.base.settings import Settings
from runtime.bundle.generations import rollback
from runtime.desk.ab_test import drop
from runtime.desk.desk import Desk
from runtime.desk.open_desk import apply_retention, open_desk
from runtime.errors import BusyError, MissingError, UsageError
from runtime.server.access import master_token
from runtime.server.app import create_app
from runtime.server.service import Service

STOP_TIMEOUT_S = 5
"""How long a stopping server waits for connections to end."""
LOOK_EVERY_S = 0.5
"""How often it is looked whether the engine keeps crashing."""
MOST_CRASHES = 3
"""Of the engine without a whole answer between them; then the generation before is tried."""
FORGET_EVERY_S = 6 * 3600
"""How often the journal is looked through for what may not be kept longer."""


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
        servers.add(app, stack.enter_context(_unix_socket(socket_path(home))))
        if settings.port is not None:
            service.agents.master = master_token(home)
            listener = stack.enter_context(_tcp_socket(settings.host, settings.port))
            servers.add(app, listener, cert=settings.tls_cert, key=settings.tls_key)
            shown = f"[{settings.host}]" if ":" in settings.host else settings.host
            say(f"listening on {shown}:{listener.getsockname()[1]}, token in {run_folder(home) / 'token'}")
        loader = _Loader(service, home, settings, servers, say)
        say(f"listening on {socket_path(home)}")
        loader.start()
        try:
            asyncio.run(servers.run())
        finally:
            service.stop()
            loader.end()
        if loader.error is not None:
            raise loader.error


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


class _Servers:
    """One uvicorn server for each socket, since only TCP speaks TLS; they start and stop together."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._servers: list[tuple[_Server, socket.socket]] = []

    def add(self, app: Any, listener: socket.socket, *, cert: Path | None = None, key: Path | None = None) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
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
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `_Servers`' matter: uvicorn would raise them again at the end and skip our clean-up."""
        yield


class _Loader(threading.Thread):
    """Opens the desk beside the listening server, keeps it open until the end, and closes it in the same thread.

    An engine that crashes again and again is given up with its bundle: the generation before becomes the current one.
    """

    def __init__(
        self, service: Service, home: Path, settings: Settings, servers: _Servers, say: Callable[[str], None]
    ) -> None:
        super().__init__(name="loader", daemon=True)
        self.error: BaseException | None = None
        self._done = threading.Event()
        self._parts = (service, home, settings, servers, say)

    def run(self) -> None:
        service, home, settings, servers, say = self._parts
        try:
            while not self._done.is_set():
                with open_desk(home, settings) as desk:
                    service.desk = desk
                    if desk.journal.salvaged:
                        service.log.info("salvaged", **desk.journal.salvaged.rows)
                        say(str(desk.journal.salvaged))
                    say(f"ready: {desk.model}")
                    if desk.candidate:
                        say(f"on trial: {desk.candidate.model}")
                    elif desk.candidate_error:
                        service.log.info("candidate_error", error=desk.candidate_error)
                        say(f"the model on trial cannot be served: {desk.candidate_error}")
                    self._keep(desk)
                    service.desk = None
                    service.drain()
                service.reload()
        except BaseException as error:
            self.error = error
            servers.stop()

    def _keep(self, desk: Desk) -> None:
        """Until the end, or until another generation is to be opened."""
        service, home, _, _, say = self._parts
        forgotten, tried = time.monotonic(), False
        while not self._done.wait(LOOK_EVERY_S):
            crashes = desk.engine.crash_report().total
            if crashes >= MOST_CRASHES and not tried:
                try:
                    number = rollback(home)
                except BusyError:
                    continue  # somebody installs just now, and may mend it
                except MissingError:
                    tried = True
                    service.log.info("crashing", deaths=crashes, generation=None)
                    continue  # nothing to go back to: the engine goes on being started again
                service.log.info("crashing", deaths=crashes, generation=number)
                say(f"the engine crashed {crashes} times: back to generation {number}")
                return
            crashes = desk.candidate.engine.crash_report().total if desk.candidate else 0
            if crashes >= MOST_CRASHES:
                experiment = drop(home)
                service.log.info("crashing", deaths=crashes, experiment=experiment.name)
                say(f"the model on trial crashed {crashes} times: {experiment.name} is dropped")
                return
            if time.monotonic() - forgotten >= FORGET_EVERY_S:
                forgotten = time.monotonic()
                service.log.info("pruned", **apply_retention(desk.journal, desk.bundle).as_dict())

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
def _tcp_socket(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host} port {port} cannot be used ({error.strerror})",
                where="--host, --port",
                hint="choose another, or port 0 for any",
            ) from None
        yield listener
