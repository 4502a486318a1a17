"""A child of `runtime.perception.bounded_child` that does what a test asks for, as hostile bytes would make it do."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.perception.bounded_child import child_main


def work(request: dict[str, Any], data: bytes) -> Any:
    match request["do"]:
        case "measure":
            sys.stdout.write("a library talks")
            sys.stdout.flush()
            return {"bytes": len(data), "threads": os.environ["OMP_NUM_THREADS"]}
        case "refuse":
            raise InputError("no such thing", hint="do something else")
        case "fill memory":
            return len(bytearray(1 << 30))
        case "never end":
            while True:
                pass
        case "die":
            os.abort()
        case "answer without end":
            return "x" * (32 << 20)
        case "write":
            try:
                Path(request["path"]).write_bytes(b"a customer's face")
            except OSError as error:
                return error.errno
        case "connect":
            try:
                socket.socket(socket.AF_INET)
            except OSError as error:
                return error.errno
        case "end silently":
            sys.exit(3)
    return None


if __name__ == "__main__":
    child_main(work)
