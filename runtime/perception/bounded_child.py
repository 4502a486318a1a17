"""Runs one piece of work on a stranger's bytes in a process of its own, with bounds that the kernel keeps.

Decoders and recognisers are C and C++ on what anybody may have made. Their process gets the bytes on its standard
input and gives one JSON object back; it has no network, writes no file, and may hold so much memory and compute for so
long. Promises: whatever happens to it, the caller gets an answer or one error in bounded time; its memory is given back
when it ends; none of its bytes reach a disk.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.base.child_process import child_environment, module_command
from runtime.base.no_network import deny_network
from runtime.errors import EdgedeskError, InputError, MissingError, UnavailableError, from_dict

MAX_RESULT_BYTES = 4 << 20
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "500"
"""When memory runs out the kernel ends this process before the one with the journal."""


@dataclass(frozen=True)
class ChildLimits:
    """What one piece of work may take."""

    wall_s: float
    memory_mib: int
    """Memory of its own (RLIMIT_DATA), libraries and model files mapped from disk not counted."""
    threads: int = 1


class ChildHandle:
    """Ends a child's work from another thread, also where it has not begun yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.ended = False

    def end(self) -> None:
        """Nobody waits for the result any more; `run_bounded` raises `UnavailableError` unless it has returned."""
        with self._lock:
            self.ended = True
            if self._process is not None:
                self._process.kill()

    def hold(self, process: subprocess.Popen[bytes]) -> None:
        """The process that `end` ends."""
        with self._lock:
            self._process = process
            if self.ended:
                process.kill()


def need_extra(*modules: str, what: str) -> None:
    """`MissingError` where one of the modules of the extra `perception` is not installed."""
    if any(find_spec(module) is None for module in modules):
        raise MissingError(
            f"{what} needs the extra 'perception', which is not installed here",
            hint="pip install 'edgedesk[perception]'; without a network: a release made by ./build.sh app --perception",
        )


def run_bounded(
    module: str,
    request: dict[str, Any],
    data: bytes,
    limits: ChildLimits,
    *,
    where: str,
    handle: ChildHandle | None = None,
) -> Any:
    """What `child_main` of `module` returns for `request` and `data`.

    Raises the error that it raised; `InputError` where it went over a bound or died of the bytes; `UnavailableError`
    where `handle` ended it. `where` names the bytes.
    """
    head = json.dumps({"memory_mib": limits.memory_mib, "cpu_s": int(limits.wall_s * limits.threads) + 1, **request})
    process = subprocess.Popen(
        module_command(module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(OMP_NUM_THREADS=str(limits.threads), PYTHONDONTWRITEBYTECODE="1"),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    if handle is not None:
        handle.hold(process)
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limits.wall_s, end)
    feeder = threading.Thread(target=_feed, args=(process, head.encode() + b"\n" + data), daemon=True)
    timer.start()
    feeder.start()
    try:
        said = process.stdout.read(MAX_RESULT_BYTES + 1)
    finally:  # Ctrl-C too
        timer.cancel()
        process.kill()
        process.wait()
        feeder.join()
        process.stdout.close()
    if handle is not None and handle.ended:
        raise UnavailableError("reading was cancelled", where=where, hint="send it again")
    if late.is_set():
        raise InputError(f"reading it took more than {limits.wall_s:.0f} s", where=where, hint="send a smaller one")
    return _result(said, process.returncode, where)


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    with suppress(OSError):  # it may be gone before it has read all
        process.stdin.write(data)
    with suppress(OSError):
        process.stdin.close()


def _result(said: bytes, code: int, where: str) -> Any:
    try:
        answer = json.loads(said)
        if "error" not in answer:
            return answer["result"]
        raise from_dict({**answer["error"], "where": answer["error"].get("where") or where})
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(
        f"it cannot be read: the process that reads it ended (code {code})",
        where=where,
        hint="save it again with another program, or take it again",
    )


def child_main(work: Callable[[dict[str, Any], bytes], Any]) -> None:
    """The whole life of a child: read the request, take the bounds, do `work`, write its result or its error."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # a library that prints must not write into the answer
        request = json.loads(sys.stdin.buffer.readline())
        take_bounds(int(request.pop("memory_mib")), int(request.pop("cpu_s")))
        answer: dict[str, Any]
        try:
            answer = {"result": work(request, sys.stdin.buffer.read())}
        except EdgedeskError as error:
            answer = {"error": error.to_dict()}
        except MemoryError:
            answer = {"error": InputError("reading it needs too much memory", hint="send a smaller one").to_dict()}
        out.write(json.dumps(answer).encode())
    os._exit(0)  # no destructor of a library that saw these bytes runs


def take_bounds(memory_mib: int, cpu_s: int) -> None:
    """Give up the network, files and core dumps, and all memory and compute beyond these; end with whoever asked."""
    # The caller's own clean-up does not run where a signal ends it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    deny_network()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mib << 20, memory_mib << 20))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
