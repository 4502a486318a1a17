"""Every error Edgedesk raises on purpose, and the exit code each ends a command with.

    EdgedeskError            1  something failed
    ├── UsageError           2  a flag, recipe or setting is wrong
    ├── InputError           3  a file given to us cannot be used as it is
    ├── SpaceError           4  the disk is full, or would be
    ├── MissingError         5  a file, model or program is not there
    ├── IntegrityError       6  a hash does not match what a manifest promised
    ├── ModelError           7  a model cannot be used: vocabulary, template, architecture, engine
    ├── GateError            8  a release does not reach what its recipe demands
    ├── UnavailableError     9  the server is not there, not ready, or refuses for now
    └── BusyError           10  another process holds the lock

An error says what is wrong, where, and what to do next. The front door prints it; nobody else catches it to print it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """Exit codes of every command; stable, so that scripts may rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    BAD_INPUT = 3
    NO_SPACE = 4
    MISSING = 5
    INTEGRITY = 6
    MODEL = 7
    GATE = 8
    UNAVAILABLE = 9
    BUSY = 10
    INTERRUPTED = 130


class EdgedeskError(Exception):
    """What is wrong, where (a file, line, flag or stage), and what to do next."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}"

    def to_dict(self) -> dict[str, str | int]:
        """The form in which errors cross processes: `--json`, the API, the engine's socket; `from_dict` reads it."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "hint": self.hint,
            "exit_code": int(self.exit_code),
        }


class UsageError(EdgedeskError):
    """A flag, recipe or setting is wrong."""

    exit_code = ExitCode.USAGE


class InputError(EdgedeskError):
    """A file given to us cannot be used as it is."""

    exit_code = ExitCode.BAD_INPUT


class SpaceError(EdgedeskError):
    """The disk is full, or would be."""

    exit_code = ExitCode.NO_SPACE


class MissingError(EdgedeskError):
    """A file, model or program is not there."""

    exit_code = ExitCode.MISSING


class IntegrityError(EdgedeskError):
    """A hash does not match what a manifest promised."""

    exit_code = ExitCode.INTEGRITY


class ModelError(EdgedeskError):
    """A model cannot be used: vocabulary, template, architecture or engine."""

    exit_code = ExitCode.MODEL


class GateError(EdgedeskError):
    """A release does not reach what its recipe demands."""

    exit_code = ExitCode.GATE


class UnavailableError(EdgedeskError):
    """The server is not there, not ready, or refuses for now."""

    exit_code = ExitCode.UNAVAILABLE


class BusyError(EdgedeskError):
    """Another process holds the lock."""

    exit_code = ExitCode.BUSY


def from_dict(said: Mapping[str, Any]) -> EdgedeskError:
    """The error that `to_dict` was called on; a class unknown here, of another version, becomes the plain one.

    Raises `KeyError` where there is no `error` or `what`: then it is no error of ours.
    """
    kind = globals().get(str(said["error"]))
    if not (isinstance(kind, type) and issubclass(kind, EdgedeskError)):
        kind = EdgedeskError
    return kind(str(said["what"]), where=str(said.get("where", "")), hint=str(said.get("hint", "")))
