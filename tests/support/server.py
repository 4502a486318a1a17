"""A server of a test branch as its own process, and looks at it from outside: the kernel's tables, its files."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from runtime.base.home import reachable, socket_path

ANSWER = "You can return most items within 30 days of delivery or collection. 大多数商品可在30天内退货。"
"""What `scripted_gguf` writes after every prompt."""
EN, ZH = "How long can I return an item after delivery?", "大多数商品多长时间内可以退货？"


@contextmanager
def connect(home: Path) -> Iterator[httpx.Client]:
    """HTTP over the home's socket, without the product's own client."""
    with reachable(socket_path(home)) as uds:
        transport = httpx.HTTPTransport(uds=uds)
        with httpx.Client(transport=transport, base_url="http://edgedesk", timeout=60) as http:
            yield http


@contextmanager
def serving(home: Path, *flags: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """`edgedesk serve` as its own process, ready; stopped at the end if the test did not."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "serve", "--home", home, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    assert process.stderr
    try:
        for line in process.stderr:
            if line.startswith("ready"):
                break
        else:
            pytest.fail("the server ended before it was ready")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Until it comes true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in {seconds:.0f} s"
        os.sched_yield()


def turn_states(home: Path) -> dict[str, tuple[str, str]]:
    """Question -> draft and state, as they are on disk."""
    with closing(sqlite3.connect(home / "journal.sqlite")) as db:
        return {row[0]: (row[1], row[2]) for row in db.execute("SELECT question, draft, state FROM turn")}


def engine_pid(server: int) -> int | None:
    """The engine's process under a server's, when there is one."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == server and b"runtime.engine.process.engine_process" in words:
            return int(path.name)
    return None


def listening_port(process: int) -> int:
    """The TCP port a process listens on, from the kernel's table."""
    inodes = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:"):
            inodes.add(target[8:-1])
    for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[3] == "0A" and columns[9] in inodes:
            address, port = columns[1].split(":")
            assert address == "0100007F"
            return int(port, 16)
    raise AssertionError("no TCP port")
