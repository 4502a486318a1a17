"""Takes the network away from a process, for good, whoever started it and however: a filter in the kernel (seccomp).

The engine, and what reads pictures and recordings, compute on what strangers wrote, in C. They talk to their parent
over what they were given and need no socket of their own. systemd's units and containers say the same from outside;
this holds where there is neither, and where the server has a TCP port. Promises: Unix sockets go on working; nothing
else changes; a machine without such filters runs on without one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in what the kernel shows a filter (`struct seccomp_data`)."""
_CALLS = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}
"""By machine: the kernel's name of the architecture, the numbers of `socket` and of `io_uring_setup`."""
_X32 = 0x40000000
"""From here on numbers are those of another calling convention, on x86-64."""


def deny_network() -> bool:
    """From now on this thread and all it starts may open Unix sockets only: others fail with EACCES.

    Call it before the first thread is started. False where the machine knows no such filter.
    """
    known = _CALLS.get(os.uname().machine)
    if known is None:
        return False
    architecture, socket_call, ring_call = known
    # Jumps count the steps to skip: (instruction, when true, when false, value).
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 6, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 4, 0, _X32),
        (_EQUAL, 3, 0, ring_call),  # its rings open sockets without this call
        (_EQUAL, 0, 3, socket_call),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, _REFUSE | errno.EACCES),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return not libc.prctl(_SET_SECCOMP, _FILTER, program, 0, 0)
