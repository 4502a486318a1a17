"""llama.cpp's C library: loaded once, without output, and with threads that leave processors to other programs.

Promises: nothing is written to stderr; the last lines llama.cpp logged are kept for error messages; threads that wait
for work spin for a moment, then sleep. Knows nothing of models.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

KEPT_LOG_LINES = 20
SPINS = "20000"
"""How often a waiting thread looks before it sleeps. SmolLM2-135M, two threads, tokens a second alone and with two busy
processes, in one run: asleep at once 54 and 62, 1,000 spins 101 and 46, 20,000 spins 116 and 53, never asleep
113 and 29. A token has some thousand barriers, and waking takes longer than most of them.
"""

_log: deque[str] = deque(maxlen=KEPT_LOG_LINES)
_partial: list[str] = []
_lock = threading.Lock()


@cache
def library() -> Any:
    """The low-level bindings (`llama_cpp.llama_cpp`); the first call loads and initialises the library.

    OpenMP threads that spin while they wait starve each other next to busy processes; those that sleep at once wake
    too late. The variables are read when the library is loaded, so they must be set before; the user's win.
    """
    if os.environ.setdefault("OMP_WAIT_POLICY", "passive").casefold() == "passive":
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    # Here, because the environment above must be set first, and a branch with runtime = "onnx" may lack it.
    from llama_cpp import llama_cpp

    llama_cpp.llama_log_set(_callback(llama_cpp), ctypes.c_void_p(0))
    load_variant(llama_cpp)
    llama_cpp.llama_backend_init()
    return llama_cpp


def build_of_llama() -> str:
    """Names the build whose state format and arithmetic this is."""
    import llama_cpp  # as in `library`

    return f"{llama_cpp.__version__} {library().llama_print_system_info().decode(errors='replace').strip()}"


def load_variant(llama_cpp: Any) -> bool:
    """Load the fastest code that this processor can run, where the wheel carries several; returns whether it does.

    A wheel of `./build.sh wheels` has the processor's code in files of its own, one a kind of processor, and nothing
    loads them by itself: without this call there is no backend and no model can be opened.
    """
    folder = Path(llama_cpp._base_path)
    if not any(folder.glob("libggml-cpu-*.so")):
        return False
    # Looked up through libllama's own handle: opening libggml.so by its name would load a second copy.
    load = llama_cpp._lib.ggml_backend_load_all_from_path
    load.argtypes, load.restype = [ctypes.c_char_p], None
    load(os.fsencode(folder))
    return True


def loaded_variant() -> str:
    """The kind of processor whose code is used, such as `haswell`; `native` for code compiled on this machine."""
    library()
    names = (line.rpartition("/")[2].strip() for line in Path("/proc/self/maps").read_text().splitlines())
    found = {name.removeprefix("libggml-cpu-").removesuffix(".so") for name in names if name.startswith("libggml-cpu-")}
    return min(found, default="native")


@cache
def _callback(llama_cpp: Any) -> Any:
    # Cached, so that the C side never calls into a collected closure.
    def keep(level: int, text: bytes, user_data: object) -> None:  # noqa: ARG001 - the C signature
        with _lock:
            _partial.append(text.decode(errors="replace"))
            *whole, rest = "".join(_partial).split("\n")
            _partial[:] = [rest] if rest else []
            _log.extend(line for line in whole if line.strip(" ."))

    return llama_cpp.llama_log_callback(keep)


def last_log(lines: int = 3) -> str:
    """The last lines llama.cpp logged, for an error's hint."""
    with _lock:
        return " / ".join(list(_log)[-lines:])
