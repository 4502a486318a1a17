"""A server for whoever needs one: the running one of a home, or a child started here and ended with it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType

from runtime.base.child_process import child_environment, module_command
from runtime.base.home import run_folder
from runtime.client.client import Client
from runtime.errors import ExitCode, UnavailableError

START_TIMEOUT_S = 120.0
"""A 13B model on a slow disk is read in less."""


class OwnServer:
    """A server that was found or started here. `close` stops it only if it was started here."""

    def __init__(self, client: Client, process: subprocess.Popen[bytes] | None) -> None:
        self.client = client
        self.process = process

    def is_running(self) -> bool:
        """Whether a child was started here and has not ended."""
        return self.process is not None and self.process.poll() is None

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
        command = module_command("runtime.cli.main", "serve", "--home", str(home))
        # A session of its own: Ctrl-C in the console must not reach the server.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=child_environment(),
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
