"""For a command that asks the branch's server, or works on the home itself where none runs.

Promises: a server that is starting is waited for, and that is said; the home is never used beside a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.base.home import is_listening, lock_home
from runtime.cli.output import talk
from runtime.errors import BusyError, UnavailableError

if TYPE_CHECKING:
    from runtime.client.client import Client

START_TIMEOUT_S = 120.0
"""How long a command waits for a server that is starting."""


@contextmanager
def server_or_home(home: Path, who: str, check: Callable[[], object]) -> Iterator[Client | None]:
    """The client of a server that is ready; None where no server runs, with the home's lock held for the block.

    `check` raises what is missing before a lock file is made; `who` holds the lock. `BusyError` names another process
    than a server that has the home, `UnavailableError` a server that is not ready in the time a large model needs.
    """
    if is_listening(home):
        client = _client(home)
        if _is_ready(client):
            yield client
            return
    check()
    with ExitStack() as held:
        served: Client | None = None
        try:
            held.enter_context(lock_home(home, who))
        except BusyError as error:
            # A server that has the home and does not listen yet is about to.
            served = _client(home) if "edgedesk serve " in error.what else None
            if served is None or not _is_ready(served, begun=True):
                raise
        yield served


def _client(home: Path) -> Client:
    from runtime.client.client import Client  # httpx takes a third of a second, which only a server is worth

    return Client(home)


def _is_ready(client: Client, *, begun: bool = False) -> bool:
    """Whether a server answers here; one that is starting is waited for, `begun` or found listening."""
    deadline, said = time.monotonic() + START_TIMEOUT_S, False
    while not client.is_ready():
        if client.is_alive():
            begun = True
        elif not begun:
            return False
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"the server was not ready after {START_TIMEOUT_S:.0f} s", where=str(client.home), hint="see its log"
            )
        if not said:
            talk("the server is starting; it is asked as soon as it is ready")
            said = True
        time.sleep(0.1)
    return True
