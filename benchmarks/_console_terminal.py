"""Keys typed into a real terminal device, and when the console's answer comes out of it.

Every key is a letter that is nowhere else on the screen, so that the first output with it is the one that shows it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence

PATIENCE_S = 60.0
CHUNK = 1 << 16
LETTERS = [chr(code) for code in range(0x100, 0x178) if chr(code).isalpha()]


class Device:
    """A program in a terminal of its own; nobody looks at it, its output is read at once."""

    def __init__(self, argv: Sequence[str], size: tuple[int, int], environment: dict[str, str]) -> None:
        self._pid, self._line = pty.fork()
        if self._pid == 0:
            os.execvpe(argv[0], list(argv), environment)  # noqa: S606 - the caller's own program, no shell wanted
        columns, rows = size
        fcntl.ioctl(self._line, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self._pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._line, text.encode())

    def until(self, *wanted: str) -> float:
        """Read until all of these have come out; when the last one did."""
        missing, seen = [one.encode() for one in wanted], b""
        deadline = time.monotonic() + PATIENCE_S
        while missing:
            if time.monotonic() > deadline:
                raise TimeoutError(f"never on screen: {missing}")
            seen += self._read(0.1)
            missing = [one for one in missing if one not in seen]
            seen = seen if missing and len(wanted) > 1 else seen[-64:]
        return time.perf_counter()

    def idle(self, seconds: float) -> None:
        """Read on for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def _read(self, wait_s: float) -> bytes:
        return os.read(self._line, CHUNK) if select.select([self._line], [], [], wait_s)[0] else b""

    def close(self) -> None:
        """End it."""
        os.kill(self._pid, signal.SIGHUP)
        os.close(self._line)
        os.waitpid(self._pid, 0)


def waits(
    argv: Sequence[str], size: tuple[int, int], environment: dict[str, str], keys: int, a_draft: int
) -> list[float]:
    """Seconds from each key to the output that shows it, while drafts stream."""
    device, out = Device(argv, size, environment), []
    try:
        device.until("Customer's message", "ready", "of 200")
        for start in range(0, keys, a_draft):
            device.type("how long\r" if start == 0 else "\r")
            device.until("writing")
            device.idle(0.3)
            for number in range(a_draft):
                letter = LETTERS[(start + number) % len(LETTERS)]
                began = time.perf_counter()
                device.type(letter)
                out.append(device.until(letter) - began)
                device.idle(0.05 + 0.007 * (number % 10))  # at no fixed place between two tokens
    finally:
        device.close()
    return out
