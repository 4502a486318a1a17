"""Where a release or a bundle is read from: a folder or a stick, or a static HTTP server.

Promises: a file is read from any byte on, without following a link below the folder, and never waits for a pipe; what
is wrong with the place is one error of ours. Checks no hash: whoever reads does. Opens no connection but to the address
it was given.
"""

from __future__ import annotations

import errno
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit

from runtime.base.files import open_below
from runtime.base.head_deadline import HEAD_S, HeadDeadline
from runtime.bundle.release_format import METADATA
from runtime.errors import EdgedeskError, MissingError, UnavailableError, UsageError

if TYPE_CHECKING:
    import httpx

OCI_SCHEMES = ("oci://", "oci+http://")
"""How addresses of registries begin; `oci_source` reads them."""
CHUNK_BYTES = 1 << 20
"""Read at once; a copy that was cut short reads at most one such piece again."""
CONNECT_TIMEOUT_S = 20.0
READ_TIMEOUT_S = 60.0
"""Without a byte; a server that goes on sending single bytes is given up by `HEAD_S` and the next two."""
SLOW_S = 120.0
"""Waited for the server; what the branch pauses by itself does not count."""
SLOW_BYTES = 1 << 16
"""What must come in that time: no line that a branch could be updated over is slower."""
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG, errno.ENXIO)
"""How a system says that there is no regular file under a name: none, a link, a pipe, a socket."""


class Source(Protocol):
    """A place with files."""

    @property
    def where(self) -> str:
        """The place, for messages."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from `start` on, in pieces.

        `MissingError` without one, `UnavailableError` when reading is cut off.
        """


class FolderSource:
    """A folder: a stick, a share, a folder that something else fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder)

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `Source`. A link, a device or a folder is as good as no file.

        `UsageError` for one that this user may not read.
        """
        try:
            file = open_below(self.folder, name)
        except OSError as error:
            raise self._unopened(name, error) from None
        with file:
            file.seek(start)
            while True:
                try:
                    chunk = file.read(CHUNK_BYTES)
                except OSError as error:
                    raise self._unreadable(name, error) from error
                if not chunk:
                    return
                yield chunk

    def _unopened(self, name: str, error: OSError) -> EdgedeskError:
        if error.errno in (errno.EACCES, errno.EPERM):
            return UsageError(
                f"'{name}' may not be read by this user",
                where=self.where,
                hint="mount the stick so that this user may read it, or run the command as one who may",
            )
        try:
            there = stat.S_ISDIR(self.folder.stat().st_mode)
        except OSError:
            there = False
        if not there:
            return self._gone()
        if error.errno in _NO_SUCH_FILE:
            return MissingError(f"'{name}' is missing", where=self.where, hint="copy the folder again")
        return self._unreadable(name, error)

    def _unreadable(self, name: str, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"'{name}' cannot be read ({error.strerror})",
            where=self.where,
            hint="check the stick, or take another, and run it again: what was copied is kept",
        )

    def _gone(self) -> UnavailableError:
        return UnavailableError(
            "the folder is not there any more", where=self.where, hint="put the stick back and run it again"
        )


class HttpSource:
    """A static HTTP or HTTPS server; use as a context, which closes its connection."""

    def __init__(
        self,
        url: str,
        *,
        ca: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        head_s: float = HEAD_S,
    ) -> None:
        """`InputError` where `ca` holds no certificates, `UsageError` for what is no address."""
        import httpx  # a tenth of a second, which a branch that updates from sticks does not pay

        try:
            _ = urlsplit(url).port  # httpx takes some hosts that are none
            address = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            address = httpx.URL("")
        if address.scheme not in ("http", "https") or not address.host:
            raise UsageError("not an http or https address", where=url, hint="https://host/folder")
        if address.userinfo:
            # Without the address: a message goes into logs.
            raise UsageError(
                "the address of releases holds a password", where="update_from", hint="https://host/folder"
            )
        self._url = url.rstrip("/") + "/"
        self._monotonic = monotonic
        self._client = one_address_client(ca, head_s=head_s)

    def __enter__(self) -> HttpSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @property
    def where(self) -> str:
        """The address."""
        return self._url

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `Source`. Of a server that cannot begin in the middle, what is known is skipped."""
        headers = {"Accept-Encoding": "identity", **range_header(start)}
        with (
            http_errors_are_ours(name, self.where),
            self._client.stream("GET", self._url + quote(name), headers=headers) as answer,
        ):
            yield from body_from(answer, name, start, self.where, self._monotonic)


def one_address_client(
    ca: Path | None, transport: httpx.BaseTransport | None = None, *, head_s: float = HEAD_S
) -> httpx.Client:
    """A client that asks nobody but whom it is told to: no proxy and no login of the environment, no redirections.

    It waits for the head of an answer no longer than `head_s`. `transport` stands in for the network. `InputError`
    where `ca` holds no certificates.
    """
    import httpx

    from runtime.base.tls import trusted_certificates

    verify = trusted_certificates(ca, "update_ca")
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    client = httpx.Client(timeout=timeout, verify=verify, trust_env=False, follow_redirects=False, transport=transport)
    HeadDeadline(client, head_s)
    return client


def range_header(start: int) -> dict[str, str]:
    """The header that asks for a file from a byte on; none for all of it."""
    return {"Range": f"bytes={start}-"} if start else {}


def body_from(
    answer: httpx.Response, name: str, start: int, where: str, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[bytes]:
    """A file's bytes from `start` on, of the answer to `range_header`; raises as `Source.read` does."""
    if answer.status_code in (403, 404, 410):
        raise MissingError(f"'{name}' is missing", where=where, hint="is the release published whole?")
    if answer.status_code == 416:  # nothing follows: the hash says whether it was all
        return
    if answer.status_code not in (200, 206):
        raise UnavailableError(
            f"the server says {answer.status_code} for '{name}'",
            where=where,
            hint="redirections are not followed: correct the address" if answer.is_redirect else "try again later",
        )
    skip = start if answer.status_code == 200 else 0
    # As it comes and not in large pieces: a slow line is kept busy, and less is read again after a cut.
    for chunk in _not_too_slow(answer.iter_raw(), name, where, monotonic):
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        yield chunk[skip:]
        skip = 0


@contextmanager
def http_errors_are_ours(name: str, where: str) -> Iterator[None]:
    """What httpx says of a connection, in one sentence of ours."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"'{name}' cannot be read ({type(error).__name__})",
            where=where,
            hint="try again: what was copied is kept",
        ) from error


def _not_too_slow(pieces: Iterator[bytes], name: str, where: str, monotonic: Callable[[], float]) -> Iterator[bytes]:
    """The pieces; `UnavailableError` once too little has come in the time that was spent waiting for them."""
    waited, came = 0.0, 0
    while True:
        began = monotonic()
        piece = next(pieces, None)
        if piece is None:
            return
        waited += monotonic() - began
        came += len(piece)
        if came >= SLOW_BYTES:
            waited, came = 0.0, 0
        elif waited > SLOW_S:
            raise UnavailableError(
                f"'{name}' comes too slowly: {came:,} bytes in {waited:.0f} s",
                where=where,
                hint="try again: what was copied is kept",
            )
        yield piece


class PacedSource:
    """A source read no faster than so many bytes a second, and only while it may be: `check` raises when it may not."""

    def __init__(self, source: Source, *, bytes_per_s: float, clock: Pace) -> None:
        self._source = source
        self._rate = bytes_per_s
        self._pace = clock
        self._due = clock.now()
        """When what was read is paid for; never in the past, so that a pause is not made up for."""

    @property
    def where(self) -> str:
        """The place behind it."""
        return self._source.where

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `Source`."""
        for chunk in self._source.read(name, start):
            self._pace.check()
            if self._rate > 0:
                now = self._pace.now()
                self._due = max(self._due + len(chunk) / self._rate, now)
                if self._due > now:
                    self._pace.wait(self._due - now)
            yield chunk


class Pace(Protocol):
    """What paces a copy: a clock that never jumps, a pause, and whether copying is allowed now."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""

    def wait(self, seconds: float) -> None:
        """Pause."""

    def check(self) -> None:
        """Raise an error of ours when copying must stop now."""


def is_address(text: str) -> bool:
    """Whether a source is named by an address and not by a folder."""
    return text.lower().startswith(("http://", "https://", *OCI_SCHEMES))


def is_release(folder: Path) -> bool:
    """Whether a folder is a signed release and not a plain bundle.

    A manifest beside the metadata changes nothing: whoever lays one over a release must not get it installed unsigned.
    """
    return (folder / METADATA).is_dir()
