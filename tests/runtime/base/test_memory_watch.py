from __future__ import annotations

import subprocess
import sys

import numpy as np

from runtime.base.memory_watch import watch_memory


def test_memory_of_this_process_and_of_its_children_is_seen() -> None:
    with watch_memory() as before:
        pass
    with watch_memory() as own:
        block = np.ones(30_000_000)
    assert own.megabytes > before.megabytes + 200
    del block
    code = "import sys; block = b'x' * (300 << 20); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with watch_memory() as child:
            assert process.stdout.readline() == b"ready\n"
        process.communicate()
    assert child.megabytes > before.megabytes + 250
