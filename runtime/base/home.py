"""A branch's folder (EDGEDESK_HOME): where its parts lie, and the locks that let one process at a time own them.

    generations/N, current -> generations/N      installed bundles, hard links into store/
    trust.json, high-water.json, update.json     what is believed of releases, and where an update stands
    index/            the search index, rebuilt when missing
    journal.sqlite    conversations
    install.lock      held by whoever installs
    settings.toml     settings of this branch
    machine.json      threads, as measured at install
    passed-trial.json what the last trial of an update has shown
    knowledge/        compiled articles
    agents.json       who may use the server over TCP
    run/              edgedesk.sock, edgedesk.lock, token, serve.log, log.jsonl, turns/; owner-only

Promises: the socket's path works however deep the home lies. Knows nothing of what is in the parts.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.base.files import expand_user, private_folder
from runtime.errors import BusyError, UsageError

MAX_SOCKET_PATH_BYTES = 107
"""Linux's `sun_path` without its closing zero."""
TRUST = "trust.json"
HIGH_WATER = "high-water.json"
"""What is written of believed releases, by `runtime.bundle.trust_record`; named here because that module is slow to
import."""


def find_home(flag: Path | None = None) -> Path:
    """The home folder: flag, then EDGEDESK_HOME, then the user's data folder.

    `UsageError` naming the owner where this user may not look into it.
    """
    if flag is not None:
        home = flag.absolute()
    elif named := os.environ.get("EDGEDESK_HOME"):
        home = expand_user(Path(named)).absolute()
    else:
        import platformdirs

        home = Path(platformdirs.user_data_dir("edgedesk", appauthor=False))
    if closed := _closed_folder(home):
        owner = owner_name(closed)
        raise UsageError(
            f"the folder belongs to {owner} and may not be opened by this user",
            where=str(closed),
            hint=f"run the command as that user (sudo -u {owner} edgedesk …), or name a branch of your own with --home",
        )
    return home


def _closed_folder(home: Path) -> Path | None:
    """The folder that keeps this user out of a home: the home itself or one above it; None where there is none."""
    for folder in reversed((home, *home.parents)):
        if not folder.is_dir():
            return None
        # In a folder above it is enough to go through.
        needed = os.X_OK | os.R_OK if folder == home else os.X_OK
        if not os.access(folder, needed, effective_ids=True):
            return folder
    return None


def owner_name(path: Path) -> str:
    """The name of the user that a file belongs to."""
    try:
        return path.owner()
    except (OSError, KeyError):
        return "another user"


def trusts_a_root(home: Path) -> bool:
    """Whether a home has believed a signed release: one of its records is there, be it a damaged one."""
    return any((home / name).exists() for name in (TRUST, HIGH_WATER))


def run_folder(home: Path) -> Path:
    """`run/` of a home, both owner-only."""
    private_folder(home)
    return private_folder(home / "run")


def socket_path(home: Path) -> Path:
    """Where the server listens."""
    return home / "run" / "edgedesk.sock"


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for a socket that fits into `sun_path`, valid inside the block: through its folder when it is too long."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES or not path.parent.is_dir():
        yield str(path)
        return
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)


def is_listening(home: Path) -> bool:
    """Whether anything listens on the home's socket; a server that was killed leaves a file behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, reachable(socket_path(home)) as name:
        try:
            probe.connect(name)
        except OSError:
            return False
    return True


@contextmanager
def lock_home(home: Path, who: str) -> Iterator[None]:
    """Own the home's journal, index and socket, or raise `BusyError` at once naming the process that does."""
    with locked(run_folder(home) / "edgedesk.lock", who, home):
        yield


@contextmanager
def locked(path: Path, who: str, where: Path) -> Iterator[None]:
    """Hold a lock file, or raise `BusyError` at once naming who holds it; `where` is the folder it stands for.

    The kernel drops the lock with the process, so nothing is left behind by a kill.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            raise BusyError(
                f"{holder} is already running here",
                where=str(where),
                hint="use that one, wait for it, or stop it first",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"edgedesk {who} (process {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(handle)
