"""A branch under a kernel filter that kills any process, child or thread that asks for an internet socket."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT

EN, ZH = "How long can I return an item after delivery?", "大多数商品多长时间内可以退货？"
_SOCKET = {"x86_64": 41, "aarch64": 198}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000


def deny_internet() -> None:
    """For this process and all it starts, for good: socket(AF_INET or AF_INET6) kills. Unix sockets go on working."""
    machine = os.uname().machine
    steps = [
        (_LOAD, 0, 0, 0),  # the call's number
        (_EQUAL, 0, 4, _SOCKET[machine]),
        (_LOAD, 0, 0, 16),  # its first argument, the address family
        (_EQUAL, 1, 0, socket.AF_INET),
        (_EQUAL, 0, 1, socket.AF_INET6),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_filter, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_filter, filter_mode, program, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter")


def run(*words: object, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, filtered from before its first instruction."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **({"EDGEDESK_HOME": str(home)} if home else {})}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=deny_internet,
        cwd=ROOT,
        env=env,
    )


@pytest.fixture(scope="module", autouse=True)
def _filter_works() -> None:
    if os.uname().machine not in _SOCKET:
        pytest.skip("the filter knows x86-64 and ARM")
    for family in ("AF_INET", "AF_INET6"):
        done = run("-c", f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)")
        assert done.returncode == -signal.SIGSYS, done
    assert run("-c", "import socket; socket.socket(socket.AF_UNIX)").returncode == 0


def test_a_branch_opens_no_internet_socket(make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path) -> None:
    """S12: install, answer in both languages, compile, search, back up and evaluate."""
    home = make_home(scripted_gguf)
    bundle = (home / "current").resolve()
    new = tmp_path / "new home"
    sets = {
        "corpus.jsonl": [{"id": "a", "text": "Items may be returned."}, {"id": "b", "text": "送货免费。"}],
        "queries.jsonl": [{"id": "1", "text": "return", "gold": ["a"]}, {"id": "2", "text": "送货", "gold": ["b"]}],
    }
    for name, rows in sets.items():
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    for words in (
        ("install", bundle),
        ("ask", EN, "--json"),
        ("ask", ZH, "--json"),
        ("knowledge", "compile"),
        ("knowledge", "check"),
        ("journal", "search", "退货"),
        ("journal", "backup", tmp_path / "copy.sqlite"),
        ("evaluate", "retrieval", tmp_path / "corpus.jsonl", tmp_path / "queries.jsonl"),
    ):
        done = run("edgedesk.py", *words, home=new)
        assert done.returncode == 0, (words, done.returncode, done.stderr)


SERVE = f"""
import json, sys
from pathlib import Path
from runtime.client import ensure_server
from runtime.events import Done
with ensure_server(Path(sys.argv[1])) as client:
    ends = [list(client.ask(one))[-1] for one in ({EN!r}, {ZH!r})]
print(sum(isinstance(end, Done) for end in ends))
"""


def test_a_server_and_its_client_open_no_internet_socket(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    """S12: the server, its engine's process, and a client over the Unix socket."""
    done = run("-c", SERVE, make_home(scripted_gguf))
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
