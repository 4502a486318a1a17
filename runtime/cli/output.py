"""What commands write: data on stdout, talk on stderr.

Promises: no text of a bundle, an article or a customer steers the terminal, whichever command prints it and in whatever
form; a stream whose encoding lacks a character gets a replacement for it, never a traceback; JSON loses nothing in any
encoding; a stream that is closed takes what is written and keeps nothing.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from runtime.base.terminal import STEERING, printable
from runtime.errors import EdgedeskError, ExitCode, MissingError, SpaceError, UsageError

_IN_JSON = re.compile(f"{STEERING.pattern[:-1]}\u2028\u2029]")
"""The same, and what readers of lines take for their end though JSON does not."""


def out(text: str) -> None:
    """A line of data."""
    typer.echo(printable(text))


def out_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON value in a line; what could steer a terminal or end the line is escaped, and reads back as it was.

    Where stdout is not UTF-8, all that is not ASCII is escaped as well.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = json.dumps(value, ensure_ascii=codecs.lookup(encoding).name != "utf-8")
    typer.echo(_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


def talk(text: str) -> None:
    """A line for whoever watches."""
    typer.echo(printable(text), err=True)


def write(text: str) -> None:
    """A piece of a line of data, at once."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def accept_any_text() -> None:
    """Let stdout and stderr replace what their encoding lacks: a branch's terminal may be GBK or Latin-1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _replace_closed() -> None:
    """Put the null device where a standard stream is closed (`>&-`): Python leaves None there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def show_error(error: EdgedeskError) -> int:
    """Print an error on stderr, with its hint; returns the exit code."""
    talk(f"error: {error}")
    if error.hint:
        talk(f"  hint: {error.hint}")
    return int(error.exit_code)


_WRONG_PLACES = {
    errno.EISDIR: ("a folder, where a file is needed", "give the path of a file"),
    errno.ENOTDIR: ("a file, where a folder is needed", "give the path of a folder"),
    errno.EEXIST: ("there is a file of this name already", "give another path, or move the file away"),
    errno.ENOTEMPTY: ("the folder is not empty", "give another path, or empty the folder"),
    errno.EROFS: ("the disk may only be read", "give a path on another disk, or mount this one for writing"),
    errno.ENAMETOOLONG: ("the file name is too long", "give a shorter one"),
    errno.ELOOP: ("symbolic links in a loop, or a link where none is followed", "give the path of the file itself"),
}
"""Paths that cannot be what they were named for: nothing is wrong with the disk."""


def from_os_error(error: OSError) -> EdgedeskError:
    """A failure of the operating system that nobody expected, as an error of ours: what, where, what next."""
    # Of two names the second is where something was to go; the first may be a temporary file of ours.
    where = str(error.filename2 or error.filename or "")
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "run the command as the user who owns it, or ask your admin"
        return UsageError("may not be opened by this user", where=where, hint=hint)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpaceError("the disk is full", where=where, hint="free some space and try again")
    if error.errno == errno.ENOENT:
        return MissingError("no such file", where=where, hint="check the path")
    if error.errno in _WRONG_PLACES:
        what, hint = _WRONG_PLACES[error.errno]
        return UsageError(what, where=where, hint=hint)
    what = error.strerror or type(error).__name__
    return EdgedeskError(what, where=where, hint="check the disk and its mount: edgedesk doctor")


def run_app(run: Callable[[], object]) -> None:
    """Run a command line to its exit code: no error, and no failure of the system, ends in a traceback."""
    _replace_closed()
    accept_any_text()
    try:
        run()
    except EdgedeskError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        talk("interrupted; nothing half-made was left")
        sys.exit(int(ExitCode.INTERRUPTED))
    except BrokenPipeError:
        # Whoever read has heard enough. The interpreter would complain about what is still to be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        sys.exit(show_error(from_os_error(error)))
