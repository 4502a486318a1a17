"""A receiver at head office, in memory: keeps one row a key, and fails as it is told to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

import httpx

from runtime.feedback.uplink import Uplink

URL = "https://head-office.example/feedback"


class Receiver:
    """What stands behind an uplink; `transport` is its way there."""

    def __init__(
        self,
        *,
        cut: Iterator[bool] | None = None,
        refuses: Callable[[str], bool] = lambda _line: False,
        status: Callable[[int], int] = lambda _number: 200,
    ) -> None:
        """`cut` says of each upload whether the connection ends after the rows are stored and before the answer."""
        self.rows: dict[str, str] = {}
        """By key, as they came."""
        self.came: Counter[str] = Counter()
        """How often each key came."""
        self.requests: list[httpx.Request] = []
        self._cut, self._refuses, self._status = cut, refuses, status
        self.transport = httpx.MockTransport(self._take)

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status = self._status(len(self.requests))
        if status != 200:
            return httpx.Response(status, headers={"Retry-After": "1"})
        lines = request.content.decode().splitlines()[1:]
        if any(map(self._refuses, lines)):
            return httpx.Response(422)
        for line in lines:
            key = json.loads(line)["key"]
            self.came[key] += 1
            self.rows[key] = line
        if self._cut is not None and next(self._cut, False):
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(200)

    def uplink(self, url: str = URL, token: str = "") -> Uplink:
        return Uplink(url, token=token, transport=self.transport)
