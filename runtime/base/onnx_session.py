"""Opens an ONNX model on the CPU, the same way for encoder and decoder, in a branch and in a build.

Promises: a file that is no model is a `ModelError` that names it. Telemetry is off (`runtime/__init__.py`). Knows
nothing of what the model computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.errors import ModelError


def open_session(path: Path, threads: int, *, arena: bool = True) -> Any:
    """An `onnxruntime.InferenceSession` that computes with `threads` threads.

    Without `arena` memory goes back after each use: slower, and what inputs of ever other shapes need.
    """
    import onnxruntime  # not at the top: it takes a third of a second, and not every process that can search does

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = arena
    # Idle workers that spin would take the core from the language model, or from the branch's other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError("not a model onnxruntime can run", where=str(path), hint=str(error)[:300]) from None
