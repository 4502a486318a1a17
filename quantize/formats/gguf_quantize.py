"""f16 GGUF → Q8_0, Q4_K_M …, through llama.cpp's own `llama_model_quantize`, weighed by an importance matrix if given.

llama.cpp aborts the process on an assertion and does not look at signals while it works, so it runs in a child process.
Promises: the file appears whole or not at all; too little space is said before the work; llama.cpp's log goes into the
error, not to the terminal. Knows nothing of the model's shape.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from quantize.formats.importance_matrix import read_importance
from runtime.base.child_process import run_child
from runtime.base.files import need_space, new_file
from runtime.errors import MissingError, UsageError

KINDS: Mapping[str, str] = {
    "q8_0": "8.5 bits a weight, the nearest to f16",
    "q6_k": "6.6 bits a weight",
    "q5_k_m": "5.7 bits a weight",
    "q4_k_m": "4.9 bits a weight, the usual choice for a CPU",
    "q4_k_s": "4.6 bits a weight; no six-bit matrices, which AVX2 machines read slowly",
    "q4_0": "4.6 bits a weight, repacked for fast reading on every CPU",
    "iq4_nl": "4.5 bits a weight on an uneven scale, repacked too",
    "iq4_xs": "4.3 bits a weight, the smallest offered",
}
"""The types offered."""
UNWEIGHED = frozenset({"q8_0"})
"""Types whose rounding ignores an importance matrix."""
BLOCK = 32
"""Weights that share a scale in the smallest blocks: rows that fill no block of 256 fall back to formats with these."""


def quantize_gguf(source: Path, out: Path, kind: str, *, importance: Path | None = None, threads: int = 2) -> str:
    """Write `out` as `kind` (a key of `KINDS`) from an f16 or f32 GGUF; returns the end of llama.cpp's log.

    `importance` is a file of `quantize.formats.importance_matrix`. `UsageError` for an unknown kind, `MissingError`
    without the source, `SpaceError` before the work, `ModelError` when llama.cpp refuses or aborts.
    """
    check_kinds([kind])
    if not source.is_file():
        raise MissingError("no such GGUF file", where=str(source), hint="write the f16 file first")
    # Rows that do not fill a block of 256 fall back to wider types: leave room for two thirds of f16.
    need_space(out.parent, source.stat().st_size * 2 // 3, f"the {kind} GGUF")
    with new_file(out) as partial:
        arguments = [str(source), str(partial), kind, str(threads), *([str(importance)] if importance else ())]
        return run_child(
            "quantize.formats.gguf_quantize", arguments, what=f"making {kind}", where=source, out=out, threads=threads
        )


def check_kinds(kinds: Iterable[str]) -> None:
    """`UsageError` naming the first kind that is not offered."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"no quantization '{kind}'", hint=f"one of {', '.join(KINDS)}")


def check_columns(kinds: Iterable[str], columns: int) -> None:
    """`UsageError` for a matrix of so many columns that one of the kinds cannot store: its rows are cut into blocks."""
    for kind in kinds:
        if columns % BLOCK:
            below = columns - columns % BLOCK
            raise UsageError(
                f"{columns} columns do not fill the blocks of {BLOCK} weights that {kind} stores",
                hint=f"take a multiple of {BLOCK}, such as {below or BLOCK} or {below + BLOCK}",
            )


def _child(source: str, out: str, kind: str, threads: str, importance: str = "") -> int:
    """What the child process does: quantize, print the end of llama.cpp's log, return 0 or 1."""
    from runtime.engine.llama.bindings import KEPT_LOG_LINES, last_log, library

    api = library()
    params = api.llama_model_quantize_default_params()
    if importance:
        means = read_importance(Path(importance)).means()
        entries = (api.llama_model_imatrix_data * (len(means) + 1))()  # llama.cpp stops at the entry without a name
        for entry, (name, values) in zip(entries, means.items(), strict=False):
            entry.name, entry.size = name.encode(), values.size
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        params.imatrix = entries
    params.ftype = getattr(api, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}")
    params.nthread = int(threads)
    code = int(api.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(params)))
    sys.stdout.write(last_log(KEPT_LOG_LINES) + "\n")
    return min(code, 1)


if __name__ == "__main__":
    sys.exit(_child(*sys.argv[1:6]))
