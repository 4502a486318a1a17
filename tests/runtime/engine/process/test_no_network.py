"""The engine's process has no network, wherever it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.child_process import child_environment
from runtime.engine.core.options import EngineOptions
from runtime.engine.process.remote_engine import RemoteEngine

TRY = """
import errno, socket, subprocess, sys, threading
from runtime.base.no_network import deny_network
assert deny_network()
def refused(family, kind):
    try:
        socket.socket(family, kind).close()
    except OSError as error:
        return error.errno == errno.EACCES
    return False
families = (socket.AF_INET, socket.AF_INET6, socket.AF_PACKET, socket.AF_NETLINK)
assert all(refused(family, kind) for family in families for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
socket.socket(socket.AF_UNIX).close()
left, right = socket.socketpair()
left.sendall(b"x")
assert right.recv(1) == b"x"
found = []
thread = threading.Thread(target=lambda: found.append(refused(socket.AF_INET, socket.SOCK_STREAM)))
thread.start()
thread.join()
assert found == [True]
code = "import socket; socket.socket(socket.AF_INET)"
assert b"PermissionError" in subprocess.run([sys.executable, "-c", code], capture_output=True).stderr
"""


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the filter knows x86-64 and ARM")
def test_engine_filter_refuses_every_network_and_leaves_unix_sockets(
    count_trials: Callable[[str, int], None],
) -> None:
    """S12: four families of sockets, also in threads and children."""
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True, env=child_environment())
    assert done.returncode == 0, done.stderr
    count_trials("S12", 10)


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the filter knows x86-64 and ARM")
def test_engine_process_runs_under_the_filter(scripted_gguf: Path) -> None:
    engine = RemoteEngine(EngineOptions(scripted_gguf, context_tokens=512, threads=1))
    try:
        status = Path(f"/proc/{engine.pid}/status").read_text()
    finally:
        engine.close()
    assert "Seccomp:\t2\n" in status
    assert "NoNewPrivs:\t1\n" in status
