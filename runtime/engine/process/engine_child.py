"""One engine process as its parent sees it: started, spoken to, watched, ended.

Promises: sending never blocks; a process that does not answer pings, computes one step for too long, fails step after
step or never finishes loading is killed, so that its end is noticed like a crash. Knows nothing of requests.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.base.child_process import child_environment, module_command
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.scheduler import EngineHealth
from runtime.engine.process.protocol import (
    Connection,
    FailedMessage,
    FromEngine,
    OpenMessage,
    PingMessage,
    PongMessage,
    ReadyMessage,
    SendQueue,
    ToEngine,
)
from runtime.errors import ModelError


@dataclass(frozen=True)
class ProcessLimits:
    """When an engine process is killed, replaced and started again."""

    ping_every_s: float = 1.0
    unanswered_pings: int = 30
    """Pings in a row without an answer after which it is killed. Counted, not timed: after the machine was suspended,
    or this process stopped, it gets the chance to answer first.
    """
    step_s: float = 120.0
    """Longest step: a healthy one takes two seconds, on a machine that swaps perhaps twenty."""
    failed_steps: int = 3
    """Steps that raise without a whole answer between, as they do when memory is short for good."""
    load_s: float = 900.0
    """Longest loading: hashing and reading 10 GB from a slow disk takes some minutes."""
    close_s: float = 10.0
    """How long it may take to end when it is asked to."""
    growth_bytes: int = 512 << 20
    """Memory of its own (RssAnon) that it may take above what it had when it was ready."""
    first_pause_s: float = 0.5
    """Before it is started again after a crash; doubled with every further crash."""
    longest_pause_s: float = 30.0


class EngineChild:
    """A running engine process."""

    def __init__(self, options: EngineOptions, limits: ProcessLimits) -> None:
        """Start the process; it begins to load the model."""
        self._where = str(options.model_path)
        self._limits = limits
        mine, other = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                module_command("runtime.engine.process.engine_process", str(other.fileno())),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment(),
            )
        except BaseException:
            mine.close()
            raise
        finally:
            other.close()
        self.fault = ""
        """Why it was killed; empty where it was not, or has ended by itself."""
        self._connection = Connection(mine)
        self._outgoing = SendQueue(self._connection)
        self._incoming = self._connection.messages()
        self._ended = threading.Event()
        self._unanswered: int | None = None
        """Pings since the last pong; None before the first: the interpreter's own start takes seconds."""
        self._health: EngineHealth | None = None
        self.was_ready = False
        """Whether it has ever loaded its model."""
        self._bytes_when_ready = 0
        self.send(OpenMessage(options))
        threading.Thread(target=self._watch, name="engine-watchdog", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait_until_ready(self) -> ReadyMessage:
        """Wait until the model is loaded; raises what kept it from loading. The process is gone then."""
        for message in self.messages():
            if isinstance(message, ReadyMessage):
                self._bytes_when_ready = anonymous_bytes(self.pid)
                self.was_ready = True
                return message
            if isinstance(message, FailedMessage):
                self.stop()
                raise message.error()
        self.stop()
        raise ModelError(
            f"the engine's process ended while it loaded the model ({self.describe_end()})",
            where=self._where,
            hint="edgedesk doctor",
        )

    def send(self, message: ToEngine) -> bool:
        """Send a message without waiting; False when the process has stopped reading."""
        return self._outgoing.send(message)

    def messages(self) -> Iterator[FromEngine]:
        """Its messages until it is gone. Pongs are kept here; somebody has to iterate for them to be seen."""
        for message in self._incoming:
            if isinstance(message, PongMessage):
                self._unanswered, self._health = 0, message.health
            elif isinstance(message, FromEngine):
                yield message

    def has_grown(self) -> bool:
        """Whether its own memory has grown beyond the limit since it was ready."""
        return anonymous_bytes(self.pid) > self._bytes_when_ready + self._limits.growth_bytes

    def ask_to_end(self) -> None:
        """End the connection: the process closes its engine and ends. Does not wait."""
        self._connection.shut()

    def stop(self) -> None:
        """End the process, by force if it does not end by itself in time, and free what belongs to it."""
        self.ask_to_end()
        try:
            self._process.wait(self._limits.close_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            # One that the kernel cannot end yet (it waits for a dead disk) must not keep its parent waiting too.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._limits.close_s)
        self._ended.set()
        self._outgoing.close()
        self._connection.close()

    def describe_end(self) -> str:
        """Why it has ended, for people."""
        return self.fault or f"code {self.exit_code}"

    def _watch(self) -> None:
        """Ping the process, and kill it when it hangs."""
        limits, loading_s = self._limits, 0.0
        while not self._ended.wait(limits.ping_every_s):
            loading_s += 0.0 if self.was_ready else limits.ping_every_s
            fault = self._find_fault(loading_s)
            if fault:
                self.fault = fault
                # SIGKILL ends also a process that is stopped. Its end closes the socket, and `messages` with it; shut
                # it here as well, for one that the kernel cannot end yet.
                self._process.kill()
                self._connection.shut()
                return
            if self._unanswered is not None:
                self._unanswered += 1
            self.send(PingMessage())

    def _find_fault(self, loading_s: float) -> str:
        limits, health = self._limits, self._health
        unanswered = self._unanswered or 0
        if unanswered >= limits.unanswered_pings:
            return f"it hung: {unanswered} pings without an answer"
        if loading_s > limits.load_s:
            return f"it did not load the model within {limits.load_s:.0f} s"
        if health is None:
            return ""
        if health.step_s > limits.step_s:
            return f"it hung: one step took more than {limits.step_s:.0f} s"
        if health.failed_steps >= limits.failed_steps:
            return f"{health.failed_steps} steps failed one after the other"
        return "" if health.alive else "its computing thread has ended"


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that is not file cache (RssAnon), in bytes; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0)
