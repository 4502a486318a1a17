"""The engine of an installed bundle: llama.cpp in a process of its own, or onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.base.manifest import read_manifest
from runtime.base.settings import Settings
from runtime.bundle.bundle import Bundle
from runtime.engine.core.interface import TextEngine
from runtime.engine.onnx.engine import OnnxEngine
from runtime.engine.process.remote_engine import RemoteEngine
from runtime.errors import InputError, MissingError
from runtime.prompting.prompt_tokens import LAYOUTS, Layout

FOLDER = "knowledge"


TALKS = "run/turns"


@contextmanager
def open_engine(bundle: Bundle, home: Path, settings: Settings) -> Iterator[TextEngine]:
    """The engine for an installed bundle: what the setting `runtime` names, closed at the end."""
    wanted, onnx = _layout(bundle), settings.runtime == "onnx"
    engine = _open_onnx(bundle, settings, wanted) if onnx else _open(bundle, home, settings, wanted)
    try:
        yield engine
    finally:
        engine.close()


def _open(bundle: Bundle, home: Path, settings: Settings, wanted: Layout) -> RemoteEngine:
    """llama.cpp in a process of its own, with the bundle's layout and the home's knowledge packs."""
    from runtime.engine.process.remote_engine import RemoteEngine

    entries = read_manifest(bundle.root).files
    weights = next((entry.sha256 for entry in entries if bundle.root / entry.path == bundle.model_path), "")
    return RemoteEngine(
        bundle.model_path,
        context_tokens=bundle.prompt.context_tokens,
        threads=settings.threads,
        slots=settings.slots,
        queue_limit=settings.queue_limit,
        kv_type=settings.kv_type,
        layout=wanted,
        folder=home / FOLDER,
        pack_bytes=settings.knowledge_mib << 20,
        talk_folder=home / TALKS if settings.conversations_mib else None,
        talk_bytes=settings.conversations_mib << 20,
        weights=weights,
        memory_bytes=settings.memory_mib << 20 if settings.memory_mib else None,
        nice=settings.nice,
    )


def _open_onnx(bundle: Bundle, settings: Settings, wanted: Layout) -> OnnxEngine:
    from runtime.engine.onnx.engine import OnnxEngine

    if not bundle.onnx_path.is_dir():
        raise MissingError(
            "the bundle has no ONNX student",
            where=str(bundle.root),
            hint='set runtime = "llama", or build with onnx_in_bundle = true',
        )
    return OnnxEngine(
        bundle.onnx_path,
        context_tokens=bundle.prompt.context_tokens,
        threads=settings.threads,
        queue_limit=settings.queue_limit,
        layout=wanted,
    )


def _layout(bundle: Bundle) -> Layout:

    for known in LAYOUTS:
        if known == bundle.prompt.layout:
            return known
    raise InputError(
        f"layout '{bundle.prompt.layout}' is not known",
        where=str(bundle.root / "prompt.json"),
        hint=f"one of {', '.join(LAYOUTS)}",
    )
