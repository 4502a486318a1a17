"""The real desk behind the real application, in the test's own process and without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.server.app import create_app
from runtime.server.service import Service


@pytest.fixture
def home(make_home: Callable[..., Path], scripted_gguf: Path) -> Path:
    return make_home(scripted_gguf)


@pytest.fixture
def service(home: Path) -> Iterator[Service]:
    settings = Settings(threads=1, queue_limit=64)
    with lock_home(home, "test"), open_desk(home, settings) as desk:
        service = Service(home, settings)
        service.desk = desk
        yield service
        service.stop()
        service.wait_for_answers()


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """As over the Unix socket: the address has no port."""
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=60) as client:
        yield client


@pytest.fixture
async def far(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """As over TCP."""
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8443", timeout=60) as client:
        yield client
