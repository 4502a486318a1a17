"""An OCI registry on the loopback, in memory: uploads whole and in pieces, ranges, logins, and faults on demand.

It holds clients to the OCI distribution specification: an upload whose pieces do not follow each other, a digest that
does not fit and a manifest whose blobs are missing are refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class FakeRegistry:
    """What a registry holds, what it was asked, and how it behaves."""

    challenge: str = ""
    """`basic`, `bearer`, or empty: everybody may do everything."""
    login: str = "branch:secret"
    tokens_last: int = 1000
    """Requests after which a bearer token has expired."""
    realm: str = "/token"
    ranges: bool = True
    """Whether a blob is given from the middle on."""
    elsewhere: str = ""
    """Where blobs are redirected to, such as `http://localhost:8000`; this registry serves them at `/storage/` too."""
    uploads_elsewhere: bool = False
    cut_after: int = 0
    """Bytes of a blob after which the connection ends, once."""
    endless: bool = False
    """Whether manifests and refusals never end."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """By tag and by digest: media type and bytes."""
    asked: list[str] = field(default_factory=list)
    """Method and path of every request."""
    sent: dict[str, int] = field(default_factory=dict)
    """Bytes of each blob that were read."""
    port: int = 0
    uploads: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)

    def address(self, tag: str = "stable", name: str = "shop/model") -> str:
        return f"oci+http://127.0.0.1:{self.port}/{name}:{tag}"


@contextmanager
def serve(registry: FakeRegistry) -> Iterator[FakeRegistry]:
    """Run it on a free port of the loopback."""

    class Handler(_Handler):
        state = registry

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        registry.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_one(self) -> None:
        state = self.state
        place = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        state.asked.append(f"{self.command} {place.path}")
        if place.path == "/token":
            self.give_token()
        elif place.path.startswith("/storage/"):
            # As object storage does: a login that comes along is refused.
            self.answer(400) if "Authorization" in self.headers else self.blob(place.path.removeprefix("/storage/"))
        elif not self.may():
            if state.endless:
                self.never_end(401, {"WWW-Authenticate": f'Bearer realm="{state.realm}",service="here"'})
            elif state.challenge == "basic":
                self.answer(401, WWW_Authenticate='Basic realm="here"')
            else:
                self.answer(401, WWW_Authenticate=f'Bearer realm="{state.realm}",service="here"')
        elif found := re.fullmatch(r"/v2/[a-z/]+/blobs/uploads/([0-9]*)", place.path):
            self.upload(found[1], body, parse_qs(place.query).get("digest", [""])[0])
        elif found := re.fullmatch(r"/v2/[a-z/]+/blobs/(sha256:[0-9a-f]{64})", place.path):
            self.blob(found[1])
        elif found := re.fullmatch(r"/v2/[a-z/]+/manifests/([^/]+)", place.path):
            self.manifest(found[1], body)
        else:
            self.answer(404)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = handle_one  # noqa: N815 - the names of http.server

    def may(self) -> bool:
        state, given = self.state, self.headers.get("Authorization", "")
        if state.challenge == "basic":
            return given == _basic(state.login)
        if state.challenge == "bearer":
            token = given.removeprefix("Bearer ")
            state.tokens[token] = state.tokens.get(token, 0) - 1
            return state.tokens[token] >= 0
        return True

    def give_token(self) -> None:
        if self.headers.get("Authorization") != _basic(self.state.login):
            self.answer(401)
            return
        token = f"t{len(self.state.tokens)}"
        self.state.tokens[token] = self.state.tokens_last
        self.answer(200, json.dumps({"token": token}).encode())

    def upload(self, number: str, body: bytes, digest: str) -> None:
        state = self.state
        if self.command == "POST":
            number = str(len(state.uploads) + 1)
            state.uploads[number] = b""
        elif number not in state.uploads:
            self.answer(404)
            return
        if named := self.headers.get("Content-Range"):
            first, last = map(int, named.split("-"))
            if first != len(state.uploads[number]) or last - first + 1 != len(body):
                self.answer(416)
                return
        state.uploads[number] += body
        if self.command == "PUT":
            data = state.uploads.pop(number)
            if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
                self.answer(400)
                return
            state.blobs[digest] = data
            self.answer(201)
            return
        host = "http://storage.example" if state.uploads_elsewhere else ""
        # A state of the registry's own rides along, as real ones have it: the client takes the address as it is.
        place = f"{host}{urlsplit(self.path).path.rstrip('/').removesuffix('/' + number)}/{number}?_state=x"
        self.answer(202, Location=place, Range=f"0-{max(len(state.uploads[number]) - 1, 0)}")

    def blob(self, digest: str) -> None:
        state = self.state
        data = state.blobs.get(digest)
        if data is None:
            self.answer(404)
        elif self.command == "HEAD":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
        elif state.elsewhere and not self.path.startswith("/storage/"):
            self.answer(307, Location=f"{state.elsewhere}/storage/{digest}")
        else:
            start = 0
            if state.ranges and (named := self.headers.get("Range")):
                start = int(named.removeprefix("bytes=").removesuffix("-"))
                if start >= len(data):
                    self.answer(416)
                    return
            rest = data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if state.cut_after and len(rest) > state.cut_after:
                rest, state.cut_after = rest[: state.cut_after], 0
                self.close_connection = True
            state.sent[digest] = state.sent.get(digest, 0) + len(rest)
            self.wfile.write(rest)

    def manifest(self, tag: str, body: bytes) -> None:
        state = self.state
        if self.command == "PUT":
            parts = json.loads(body)
            if any(each["digest"] not in state.blobs for each in (parts["config"], *parts["layers"])):
                self.answer(400)
                return
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            state.manifests[tag] = state.manifests[digest] = (self.headers["Content-Type"], body)
            self.answer(201)
        elif tag not in state.manifests:
            self.answer(404)
        elif state.endless:
            self.never_end(200, {})
        else:
            media_type, data = state.manifests[tag]
            self.answer(200, data, Content_Type=media_type)

    def never_end(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(b" " * (1 << 16))
        except OSError:
            return


def _basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"
