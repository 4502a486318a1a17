"""A server whose disk is full: it says so, it lives, and it answers when there is space again."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.client.client import Client
from runtime.errors import SpaceError
from runtime.events import Done, Failed
from runtime.journal.retention import RetentionReport
from runtime.server import supervisor
from runtime.server.service import Service
from runtime.server.supervisor import DeskSupervisor
from tests.support.server import EN, ZH, serving, wait_for

ENDLESS = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def full_at(size: int) -> None:
    """No file of this process may grow beyond so many bytes: what the kernel does to a full disk's writes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_question_on_a_full_disk_is_refused_and_the_next_one_after_space_is_freed_is_answered(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    """Part of F3."""
    home = make_home(scripted_gguf)
    client = Client(home)
    with serving(home) as server:
        assert isinstance(list(client.ask(EN))[-1], Done)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for question in (EN, ZH):
            last = list(client.ask(question))[-1]
            assert isinstance(last, Failed)
            assert (last.error, "disk is full" in last.what) == ("SpaceError", True), last
        assert client.is_alive()
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, ENDLESS)
        for question in (EN, ZH):
            assert isinstance(list(client.ask(question))[-1], Done)


def test_server_started_on_a_full_disk_waits_for_space(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    home = make_home(scripted_gguf)
    with serving(home):
        assert isinstance(list(Client(home).ask(EN))[-1], Done)
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "serve", "--home", home],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: full_at(16_384),
    )
    assert process.stderr
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if line.startswith("waiting for space"):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, ENDLESS)
            if line.startswith("ready"):
                break
        assert any(line.startswith("waiting for space") for line in said), said
        assert isinstance(list(Client(home).ask(EN))[-1], Done)
    finally:
        process.terminate()
        process.communicate(timeout=60)


class Nobody:
    """What listens, where nothing does."""

    def stop(self) -> None:
        raise AssertionError("the server ends")


def test_retention_that_finds_the_disk_full_is_tried_again_and_ends_nothing(
    make_home: Callable[..., Path], scripted_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, settings = make_home(scripted_gguf), Settings(threads=1)
    tries = threading.Semaphore(0)

    def full(*_: object) -> RetentionReport:
        tries.release()
        raise SpaceError("the disk is full; nothing was stored")

    monkeypatch.setattr(supervisor, "apply_retention", full)
    for name in ("RETAIN_EVERY_S", "LOOK_EVERY_S", "FULL_DISK_PAUSE_S"):
        monkeypatch.setattr(supervisor, name, 0.01)
    with lock_home(home, "test"):
        service = Service(home, settings)
        keeper = DeskSupervisor(service, home, settings, Nobody(), lambda _text: None)
        keeper.start()
        try:
            for _ in range(3):
                assert tries.acquire(timeout=60)
            wait_for(lambda: service.desk is not None)
            assert keeper.is_alive()
        finally:
            service.stop()
            keeper.end()
    assert keeper.error is None
