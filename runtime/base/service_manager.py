"""Tells systemd how far a service is (`Type=notify`), without its library.

Promises: outside a service nothing happens, and nothing that goes wrong here stops the caller. The protocol is one
datagram on the Unix socket that `NOTIFY_SOCKET` names (sd_notify(3)).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

VARIABLE = "NOTIFY_SOCKET"


def notify(*lines: str) -> None:
    """Send assignments such as `READY=1`, `STOPPING=1` or `STATUS=…` to the service manager, if there is one."""
    address = os.environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    # A leading @ stands for the zero byte of Linux's abstract names.
    path = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto("\n".join(lines).encode(), path)
