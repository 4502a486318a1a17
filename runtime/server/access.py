"""Who may do what: agents with tokens and roles.

    agent        asks, searches, gives feedback, takes hand-offs
    supervisor   also reads the figures
    admin        also sees what may leave the branch

Promises: a token is shown once, when it is made, and kept as a hash; tokens are compared in constant time and never
logged; the file is owner-only. Whoever reaches the Unix socket owns the machine's account and needs none: the socket is
owner-only. Knows nothing of HTTP.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import write_atomic
from runtime.base.home import run_folder
from runtime.base.validation import first_problem
from runtime.errors import InputError, IntegrityError, MissingError

FILE_NAME = "agents.json"


class Role(IntEnum):
    """Each may do what the one before may."""

    AGENT = 1
    SUPERVISOR = 2
    ADMIN = 3


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    name: str
    role: Role
    internal: bool = False
    """Whether internal articles may be read; the socket's owner may, a token only where it was made so."""


LOCAL = Caller("local", Role.ADMIN, internal=True)
"""Whoever may open the owner-only socket."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    role: str = Field(pattern="^(agent|supervisor|admin)$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    internal: bool = False


class _Entries(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: tuple[_Entry, ...] = ()


class AccessList:
    """The agents of a home, parsed again when the file changes."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / FILE_NAME
        self._read: tuple[bytes, tuple[_Entry, ...]] = (b"", ())
        """The file as it was read last, and the entries in it."""
        self.master: str | None = None
        """The home's own token, an admin's, when the server listens on TCP."""

    def names(self) -> list[tuple[str, Role]]:
        """Names and roles in the order of the file."""
        return [(entry.name, Role[entry.role.upper()]) for entry in self._entries()]

    def add(self, name: str, role: Role, *, internal: bool = False) -> str:
        """A new agent, or a new token for an old one; returns the token."""
        token = secrets.token_urlsafe(32)
        try:
            entry = _Entry(name=name, role=role.name.lower(), sha256=_hash(token), internal=internal)
        except ValidationError as error:
            problem = first_problem(error, "field", _Entry)
            raise InputError(problem.sentence, hint="a name of letters, digits, '.', '-' and '_'") from None
        with self._changing():
            self._write((*(other for other in self._entries() if other.name != name), entry))
        return token

    def remove(self, name: str) -> None:
        """An agent's token is no longer accepted; `MissingError` when there is none."""
        with self._changing():
            entries = self._entries()
            if name not in [entry.name for entry in entries]:
                raise MissingError(f"no agent '{name}'", where=str(self._path), hint="edgedesk agents list")
            self._write(tuple(entry for entry in entries if entry.name != name))

    def caller(self, token: str) -> Caller | None:
        """Whose token it is; None = nobody's."""
        given = _hash(token)
        found = None
        for entry in self._entries():  # all of them, so that the time says nothing
            if hmac.compare_digest(entry.sha256, given):
                found = Caller(entry.name, Role[entry.role.upper()], entry.internal)
        if self.master is not None and hmac.compare_digest(_hash(self.master), given):
            found = Caller("owner", Role.ADMIN)
        return found

    def _entries(self) -> tuple[_Entry, ...]:
        # Compared by its bytes: times have a grain, and a new file may get the inode of the one before it.
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        if raw != self._read[0]:
            try:
                entries = _Entries.model_validate_json(raw)
            except ValidationError as error:
                problem = first_problem(error, "key", _Entries)
                raise InputError(problem.sentence, where=str(self._path), hint="add the agents again") from None
            self._read = (raw, entries.agents)
        return self._read[1]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One process at a time reads, changes and writes the file: else a revoked token could come back."""
        handle = os.open(run_folder(self._home) / "agents.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, entries: tuple[_Entry, ...]) -> None:
        write_atomic(self._path, json.dumps(_Entries(agents=entries).model_dump(), indent=1) + "\n", mode=0o600)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def master_token(home: Path) -> str:
    """The home's own token, made on first use, in a file only its owner reads; `IntegrityError` when it is a link."""
    path = run_folder(home) / "token"
    try:
        # Never through a link: what it names could be read by others, or be a file of theirs.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise IntegrityError(
            f"the token's file cannot be opened ({error.strerror})", where=str(path), hint="delete it"
        ) from None
    with os.fdopen(handle, "r+") as file:
        os.fchmod(handle, 0o600)
        if token := file.read().strip():
            return token
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
        file.flush()
        os.fsync(handle)
    return token


def required_role(path: str) -> Role:
    """The least role that may use an endpoint."""
    if path.startswith("/v1/outbox"):
        return Role.ADMIN
    if path == "/metrics":
        return Role.SUPERVISOR
    return Role.AGENT
