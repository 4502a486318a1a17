"""The fake server answers as the real one: the console's calls are made on both, and forms and errors compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.client.agents import AgentClient
from runtime.client.transport import error_of
from runtime.desk.open_desk import open_desk
from runtime.errors import EdgedeskError
from runtime.server.app import create_app
from runtime.server.service import Service
from tui.base.limits import MAX_SEARCH_CHARS, MAX_TEXT_CHARS
from tui.testing.fake_server import FakeServer

READS = (
    "conversations", "conversations/c1", "conversations/nobody", "conversations/c1/composer",
    "conversations/nobody/composer", "handoffs", "labels", "canned", "outbox", "receipt",
)  # fmt: skip
SEARCHES = ("parcel", "x" * (MAX_SEARCH_CHARS + 1))
WRITES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("PUT", "conversations/c1/composer", {"text": "退货", "revision": 0}),
    ("PUT", "conversations/c1/composer", {"text": "late", "revision": 0}),
    ("PUT", "conversations/c1/composer", {"text": "x" * (MAX_TEXT_CHARS + 1), "revision": 1}),
    ("POST", "conversations/c1/turns/1/feedback", {"verdict": "edited", "reply": "30 天", "seconds": 2.5}),
    ("POST", "conversations/c1/turns/1/feedback", {"reply": "x" * (MAX_TEXT_CHARS + 1)}),
    ("POST", "conversations/c1/turns/9/feedback", {"verdict": "accepted"}),
    ("PATCH", "conversations/c1", {"tags": ["vip"], "notes": "call back", "satisfaction": 4}),
    ("PATCH", "conversations/c1", {"notes": "x" * (MAX_TEXT_CHARS + 1)}),
    ("PATCH", "conversations/c1", {"status": "snoozed", "snooze_until": "2099-01-01T00:00:00.000+00:00"}),
    ("PATCH", "conversations/nobody", {"status": "closed"}),
    ("POST", "handoffs/c1/1", {"state": "open", "reason": "complaint"}),
    ("POST", "handoffs/c1/1", {"state": "taken"}),
    ("POST", "handoffs/c1/9", {"state": "taken"}),
)  # fmt: skip


class AppClient(AgentClient):
    """The agents' client on the real application, in this process and without a socket."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def call_async(self, method: str, path: str, body: Any = None, **params: Any) -> dict[str, Any]:
        got = await self.http.request(method, path, json=body, params=params)
        if got.status_code != httpx.codes.OK:
            raise error_of(got)
        answer: dict[str, Any] = got.json()
        return answer


@pytest.fixture
def service(make_home: Callable[..., Path], scripted_gguf: Path) -> Iterator[Service]:
    home = make_home(scripted_gguf)
    settings = Settings(threads=1)
    with lock_home(home, "test"), open_desk(home, settings) as desk:
        made = Service(home, settings)
        made.desk = desk
        desk.journal.note("c1", "Where is my parcel?", "en")
        desk.journal.note("c2", "我的包裹呢？", "zh")
        yield made
        made.stop()
        made.wait_for_answers()


async def answers(client: AgentClient) -> list[tuple[str, Any]]:
    """Every call the console makes, before and after the writes, with its answer or the error's class."""
    calls: list[tuple[str, str, Any, dict[str, Any]]] = []
    reads = [("GET", path, None, {"lang": "en"} if path == "canned" else {}) for path in READS]
    searches = [("GET", "conversations/search", None, {"q": text}) for text in SEARCHES]
    calls += [*reads, *searches, *((method, path, body, {}) for method, path, body in WRITES), *reads]
    calls += [("GET", "handoffs", None, {"state": "taken"}), ("GET", "handoffs/c1/1/card", None, {})]
    out: list[tuple[str, Any]] = []
    for method, path, body, params in calls:
        name = f"{method} {path} {str(body)[:60]}"
        try:
            out.append((name, await client.call_async(method, f"/v1/{path}", body, **params)))
        except EdgedeskError as error:
            out.append((name, type(error).__name__))
    return out


async def test_fake_server_answers_have_the_form_of_the_real_ones(service: Service) -> None:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=60) as http:
        real = await answers(AppClient(http))
    fake = FakeServer()
    for name, question, lang in (("c1", "Where is my parcel?", "en"), ("c2", "我的包裹呢？", "zh")):
        fake.journal.ask(name, question, lang)["state"] = "complete"
    faked = await answers(fake.agents)
    assert [name for name, _ in real] == [name for name, _ in faked]
    for (name, theirs), (_, ours) in zip(real, faked, strict=True):
        if "labels" in name or "canned" in name or "outbox" in name:
            assert set(theirs) == set(ours), name  # What is in them is the bundle's.
        else:
            assert_same_form(theirs, ours, name)


TEXTS = {"question", "text", "notes", "tags", "reply", "verdict", "status", "satisfaction", "revision", "reason"}
"""Fields whose values are the same on both, since the test wrote them."""


def assert_same_form(real: Any, fake: Any, where: str) -> None:
    if isinstance(real, dict) and isinstance(fake, dict):
        if where.endswith("details"):
            assert set(fake) <= set(real), where
            return
        assert set(real) == set(fake), where
        for key in real:
            assert_same_form(real[key], fake[key], f"{where}.{key}")
            if key in TEXTS:
                assert real[key] == fake[key], f"{where}.{key}"
    elif isinstance(real, list) and isinstance(fake, list):
        assert len(real) == len(fake), where
        for one, other in zip(real, fake, strict=True):
            assert_same_form(one, other, where)
    else:
        assert type(real) is type(fake) or None in (real, fake), f"{where}: {real!r} and {fake!r}"
        if not isinstance(real, dict) and not isinstance(fake, dict) and where.startswith(("PUT", "POST", "PATCH")):
            assert isinstance(real, str) == isinstance(fake, str), f"{where}: {real!r} and {fake!r}"
