"""A client for OCI registries: blobs and manifests of one repository, over the OCI distribution API.

    oci://HOST[:PORT]/NAME[:TAG]        over TLS
    oci+http://HOST[:PORT]/NAME[:TAG]   in clear, for a registry in the own network; what is read from it is signed

Promises: it talks to the registry it was given, to hosts that are named beside it, and to no other: a redirection, an
upload or a token server elsewhere is an error. A login goes to the registry and its token server alone. No proxy of the
environment is used and no file of another program is read (such as ~/.docker/config.json). Source: the OCI distribution
specification 1.1. Knows nothing of releases.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from runtime.base.files import open_regular, read_text
from runtime.bundle.sources import body_from, http_errors_are_ours, one_address_client, range_header
from runtime.errors import EdgedeskError, InputError, MissingError, UnavailableError, UsageError

PIECE_BYTES = 16 << 20
"""Sent in one request; a longer blob is sent in pieces of this size."""
SCHEMES = {"oci": "https", "oci+http": "http"}
EMPTY: Mapping[str, str] = {}
_MAX_CHALLENGE = 4096
_MAX_ANSWER_BYTES = 1 << 20
"""Read of an answer of which only the status or a token counts."""
_PART = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_HOST = re.compile(r"[a-z0-9.-]{1,253}|[0-9a-f:.]{2,45}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
Advance = Callable[[int], None]
"""Called with the bytes done since."""


@dataclass(frozen=True)
class OciAddress:
    """Where an artifact lies."""

    scheme: str
    """`https` or `http`."""
    host: str
    """With its port, where one is named."""
    name: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> OciAddress:
        """Read `oci://host/name:tag`; the tag is `latest` where none is named. `UsageError` says what is wrong."""
        wrong = UsageError(
            "not an address of a registry", where=text, hint="oci://registry.example/company/model:stable"
        )
        scheme, found, rest = text.partition("://")
        if scheme.lower() not in SCHEMES or not found or "@" in rest:
            raise wrong
        try:
            split = urlsplit(f"https://{rest}")
            port = split.port
        except ValueError:
            raise wrong from None
        name, _, tag = split.path.removeprefix("/").partition(":")
        tag = tag or "latest"
        parts = name.split("/")
        if (
            not split.hostname
            or not _HOST.fullmatch(split.hostname)
            or split.query
            or split.fragment
            or not _TAG.fullmatch(tag)
        ):
            raise wrong
        if len(name) > 255 or not all(map(_PART.fullmatch, parts)):
            raise wrong
        host = str(split.hostname)
        host = f"[{host}]" if ":" in host else host
        return cls(SCHEMES[scheme.lower()], f"{host}:{port}" if port else host, name, tag)

    def __str__(self) -> str:
        scheme = "oci" if self.scheme == "https" else "oci+http"
        return f"{scheme}://{self.host}/{self.name}:{self.tag}"


class Registry:
    """One repository of a registry; use as a context, which closes its connection."""

    def __init__(
        self,
        address: OciAddress,
        *,
        login: str = "",
        ca: Path | None = None,
        hosts: Collection[str] = (),
        write: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`login` is `user:password`, or empty; `write` asks for leave to push; `transport` stands in for the network.

        `hosts`: others that the registry may send to, such as its object storage. Raises `InputError` for certificates
        that are none.
        """
        self.where = str(address)
        self._tag = address.tag
        self._base = httpx.URL(f"{address.scheme}://{address.host}/v2/{address.name}/")
        self._scope = f"repository:{address.name}:{'pull,push' if write else 'pull'}"
        self._basic = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self._authorization = ""
        self._hosts = {self._base.host, *(host.lower() for host in hosts)}
        self._client = one_address_client(ca, transport)

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def manifest(self, media_type: str, max_bytes: int) -> bytes:
        """The manifest that the tag names; `MissingError` without one, `InputError` for one that is too long."""
        data = b""
        for chunk in self._read(f"manifests/{self._tag}", 0, {"Accept": media_type}):
            data += chunk
            if len(data) > max_bytes:
                raise InputError("the manifest is too long", where=self.where, hint="check the address")
        return data

    def read_blob(self, digest: str, start: int = 0) -> Iterator[bytes]:
        """A blob's bytes from `start` on, in pieces; nothing of it is compared."""
        yield from self._read(f"blobs/{digest}", start, {})

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is there."""
        answer = self._send("HEAD", self._base.join(f"blobs/{digest}"))
        if answer.status_code == 404:
            return False
        if answer.status_code != 200 and not answer.is_redirect:  # a registry redirects to what it has
            raise self._refused(answer, "was asked for a blob")
        return True

    def push_blob(self, digest: str, size: int, path: Path, advance: Advance = lambda _: None) -> None:
        """Send a file as a blob, in pieces where it is long; the registry compares its digest."""
        with open_regular(path) as file:
            self._push(digest, size, file.read, advance)

    def push_bytes(self, digest: str, data: bytes) -> None:
        """Send bytes as a blob."""
        self._push(digest, len(data), io.BytesIO(data).read, lambda _: None)

    def push_manifest(self, data: bytes, media_type: str) -> None:
        """Let the tag name a manifest: from now on it is what readers get."""
        place = self._base.join(f"manifests/{self._tag}")
        answer = self._send("PUT", place, data, {"Content-Type": media_type})
        if answer.status_code != 201:
            raise self._refused(answer, "was given the manifest")

    def _push(self, digest: str, size: int, read: Callable[[int], bytes], advance: Advance) -> None:
        answer = self._send("POST", self._base.join("blobs/uploads/"))
        sent = 0
        piece = read(PIECE_BYTES)
        # Every piece but the last by PATCH; the last, often the only one, with the PUT that closes the upload.
        while answer.status_code == 202 and piece and sent + len(piece) < size:
            answer = self._send("PATCH", self._location(answer), piece, _range(sent, piece))
            sent += len(piece)
            advance(len(piece))
            piece = read(PIECE_BYTES)
        if answer.status_code == 202:
            place = self._location(answer).copy_add_param("digest", digest)
            answer = self._send("PUT", place, piece, _range(sent, piece) if sent else _range(0, b""))
            advance(len(piece))
        if answer.status_code != 201:
            raise self._refused(answer, "was given a blob")

    def _location(self, answer: httpx.Response) -> httpx.URL:
        """Where an upload goes on; the registry names it anew with every answer."""
        return self._allowed(answer.headers.get("Location", ""))

    def _allowed(self, place: str) -> httpx.URL:
        """An address that the registry names; `UnavailableError` for one of a host that nobody has named."""
        try:
            found = self._base.join(place)
        except httpx.InvalidURL:
            found = httpx.URL("")
        if found.scheme != self._base.scheme or found.host not in self._hosts:
            raise UnavailableError(
                f"the registry sends us to another host ({found.host[:100] or 'unnamed'})",
                where=self.where,
                hint="name that host (update_hosts, --host), or let the registry serve blobs itself",
            )
        return found

    def _send(
        self, method: str, place: httpx.URL, data: bytes = b"", headers: Mapping[str, str] = EMPTY
    ) -> httpx.Response:
        """One request; of its answer only status and headers count."""
        with http_errors_are_ours("the registry", self.where), self._stream(method, place, data, headers) as answer:
            left = _MAX_ANSWER_BYTES  # read to its end, the connection serves the next request as well
            for chunk in answer.iter_raw():
                left -= len(chunk)
                if left < 0:
                    break
            return answer

    def _read(self, name: str, start: int, headers: Mapping[str, str]) -> Iterator[bytes]:
        headers = {**headers, **range_header(start)}
        with http_errors_are_ours(name, self.where):
            with self._stream("GET", self._base.join(name), b"", headers) as answer:
                if not answer.is_redirect:
                    yield from self._body(answer, name, start)
                    return
                place = self._location(answer)
            with self._stream("GET", place, b"", headers) as answer:
                yield from self._body(answer, name, start)

    def _body(self, answer: httpx.Response, name: str, start: int) -> Iterator[bytes]:
        if answer.is_redirect or answer.status_code in (401, 403):
            raise self._refused(answer, "was asked for a blob")
        yield from body_from(answer, name, start, self.where)

    @contextmanager
    def _stream(
        self, method: str, place: httpx.URL, data: bytes, headers: Mapping[str, str]
    ) -> Iterator[httpx.Response]:
        """Send a request; one that is challenged once more, with what the challenge asks for."""
        content = data if method in ("PUT", "PATCH", "POST") else None
        with self._client.stream(method, place, content=content, headers=self._with_login(place, headers)) as answer:
            challenge = answer.headers.get("WWW-Authenticate", "")[:_MAX_CHALLENGE]
            if answer.status_code != 401 or not challenge or place.host != self._base.host:
                yield answer
                return
        self._sign_in(challenge)
        with self._client.stream(method, place, content=content, headers=self._with_login(place, headers)) as answer:
            yield answer

    def _with_login(self, place: httpx.URL, headers: Mapping[str, str]) -> dict[str, str]:
        login = {"Authorization": self._authorization} if place.host == self._base.host and self._authorization else {}
        return {"Accept-Encoding": "identity", **login, **headers}

    def _sign_in(self, challenge: str) -> None:
        """Answer a challenge: Basic, or a bearer token, which lasts some minutes, from the registry's token server."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() != "bearer":
            self._authorization = self._basic
            return
        self._authorization = ""
        asked = dict(re.findall(r'([a-z]+)="([^"]*)"', rest))
        place = self._allowed(asked.get("realm", ""))
        place = place.copy_merge_params({"scope": self._scope, "service": asked.get("service", "")})
        body = b""
        headers = {"Accept-Encoding": "identity", **({"Authorization": self._basic} if self._basic else {})}
        with self._client.stream("GET", place, headers=headers) as answer:
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > _MAX_ANSWER_BYTES:
                    break
            if answer.status_code == 200 and (token := _token(body)):
                self._authorization = f"Bearer {token}"

    def _refused(self, answer: httpx.Response, when: str) -> EdgedeskError:
        status = answer.status_code
        if status == 404:
            return MissingError("the registry has no such repository", where=self.where, hint="make it there first")
        hint = {401: "give it a login", 403: "may this login do that?", 413: "raise the limit of the proxy before it"}
        return UnavailableError(
            f"the registry says {status} when it {when}", where=self.where, hint=hint.get(status, "try again later")
        )


def _range(start: int, piece: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/octet-stream"}
    return {**headers, "Content-Range": f"{start}-{start + len(piece) - 1}"} if piece else headers


def read_login(path: Path | None) -> str:
    """`user:password` from a file; empty without one. `InputError` for a file that holds something else."""
    if path is None:
        return ""
    login = read_text(path).strip()
    if ":" not in login or not login.isprintable():
        raise InputError("not a login", where=str(path), hint="one line: user:password")
    return login


def _token(body: bytes) -> str:
    """The token of a token server's answer; empty when there is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else ""
