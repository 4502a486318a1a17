"""What `edgedesk doctor` looks at: the machine, the bundle, the server, the model. Looks only; repairs nothing."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.base.files import need_space
from runtime.errors import EdgedeskError

MIN_PYTHON = (3, 11)
SPARE_BYTES = 512 * 1024 * 1024
"""Room for an update, the index and the journal to grow."""
WORK_BYTES = 768 * 1024 * 1024
"""Above the model file itself: context, embedder, index, Python."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    said: str
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def examine(home: Path) -> list[Finding]:
    """All checks; one that fails does not keep the others from running."""
    checks: tuple[tuple[str, Callable[[Path], str]], ...] = (
        ("python", _python),
        ("compiler", _compiler),
        ("disk", _disk),
        ("memory", _memory),
        ("threads", _threads),
        ("bundle", _bundle),
        ("server", _server),
        ("model", _model),
    )
    findings = []
    for name, check in checks:
        try:
            findings.append(Finding(name, True, check(home)))
        except EdgedeskError as error:
            findings.append(Finding(name, False, str(error), error.hint))
    return findings


def _python(_: Path) -> str:
    if sys.version_info < MIN_PYTHON:
        raise EdgedeskError(f"Python {sys.version.split()[0]} is too old", hint="use Python 3.11 or newer")
    return sys.version.split()[0]


def _compiler(_: Path) -> str:
    found = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    return found or "none (needed only to install llama-cpp-python from source: apt install build-essential)"


def _disk(home: Path) -> str:
    need_space(home, SPARE_BYTES, "an update")
    there = home
    while not there.exists():
        there = there.parent
    return f"{shutil.disk_usage(there).free / 1e9:.1f} GB free"


def _memory(home: Path) -> str:
    from runtime.bundle.generations import current_bundle
    from runtime.engine.core.memory_capacity import available_bytes

    try:
        need = current_bundle(home).model_path.stat().st_size + WORK_BYTES
    except EdgedeskError:
        need = WORK_BYTES
    free = available_bytes()
    if free < need:
        raise EdgedeskError(
            f"{free / 1e9:.1f} GB of memory free, about {need / 1e9:.1f} GB needed", hint="close other programs"
        )
    return f"{free / 1e9:.1f} GB free, about {need / 1e9:.1f} needed"


def _threads(home: Path) -> str:
    from runtime.base.hardware import read_measurement
    from runtime.base.settings import load_settings

    found, threads = read_measurement(home), load_settings(home).threads
    if found is None:
        return f"{threads} (not measured; edgedesk install measures)"
    return str(found) if threads == found.threads else f"{threads} (from settings; measured: {found})"


def _bundle(home: Path) -> str:
    from runtime.bundle.bundle import open_bundle
    from runtime.bundle.generations import current_bundle

    bundle = open_bundle(current_bundle(home).root, verify=True)
    return f"{bundle.info.name} {bundle.info.version}, every file verified"


def _server(home: Path) -> str:
    from runtime.base.home import socket_path
    from runtime.client.client import Client

    for path in (home, home / "run", home / "agents.json", home / "journal.sqlite"):
        if path.exists() and (mode := path.stat().st_mode & 0o777) & 0o077:
            raise EdgedeskError(f"other users may read it (mode {mode:o})", where=str(path), hint=f"chmod go= {path}")
    client = Client(home)
    if not client.is_alive():
        return "not running"
    mode = socket_path(home).stat().st_mode & 0o777
    if mode & 0o077:
        raise EdgedeskError(f"other users may use the socket (mode {mode:o})", hint="restart the server")
    return str(client.status()["state"])


def _model(home: Path) -> str:
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import current_bundle
    from runtime.engine.core.options import EngineOptions
    from runtime.engine.core.sampling_params import SamplingParams
    from runtime.engine.llama.engine import LlamaEngine
    from runtime.engine.onnx.engine import OnnxEngine

    settings, bundle = load_settings(home), current_bundle(home)
    with ExitStack() as stack:
        engine: LlamaEngine | OnnxEngine
        if settings.runtime == "onnx":
            path = bundle.onnx_path
            engine = stack.enter_context(OnnxEngine(path, context_tokens=256, threads=settings.threads))
        else:
            path = bundle.model_path
            options = EngineOptions(path, context_tokens=256, threads=settings.threads, slots=1)
            engine = stack.enter_context(LlamaEngine(options))
        tokens = engine.vocab.encode("Hello", control=False)
        generation = engine.generate(tokens, SamplingParams(max_tokens=2), threading.Event())
        list(generation)
    return f"{path.name} loads and answers, first token after {generation.stats.ttft_s:.2f} s"
