"""The engine of an installed bundle: llama.cpp in a process of its own, or onnxruntime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.base.manifest import read_manifest
from runtime.base.settings import Settings
from runtime.bundle.bundle import Bundle
from runtime.engine.core.interface import TextEngine
from runtime.engine.core.options import EngineOptions
from runtime.engine.llama.kv_store import delete_packs
from runtime.engine.onnx.engine import OnnxEngine
from runtime.engine.process.remote_engine import RemoteEngine
from runtime.errors import InputError, MissingError
from runtime.prompting.prompt_tokens import LAYOUTS, Layout

FOLDER = "knowledge"
"""Of a home: compiled articles."""
SESSION_FOLDER = "run/turns"
"""Of a home: turns of conversations that have no room in memory, while the engine runs."""


@contextmanager
def open_engine(bundle: Bundle, home: Path, settings: Settings) -> Iterator[TextEngine]:
    """The engine for an installed bundle: what the setting `runtime` names, closed at the end."""
    layout = _layout(bundle)
    # Whatever runs now and however the last engine ended: nothing a customer wrote outlives it here.
    delete_packs(home / SESSION_FOLDER)
    if settings.runtime == "onnx":
        engine: TextEngine = _open_onnx(bundle, settings, layout)
    else:
        engine = RemoteEngine(engine_options(bundle, home, settings, layout))
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def engine_ahead(bundle: Bundle, home: Path, settings: Settings) -> Iterator[Callable[[], TextEngine]]:
    """`open_engine`, begun in a thread: the process loads its model while the block opens something else.

    Gives a function that waits for the engine, and raises what kept it from opening. What is opened meanwhile takes
    memory that the engine has counted as free, so this is for one slot. A block that ends before the engine is ready
    (its other part failed, Ctrl-C) does not wait for the loading: the engine is closed as soon as it is there.
    """
    ready, ended = threading.Event(), threading.Event()
    opened: list[TextEngine] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with open_engine(bundle, home, settings) as engine:
                opened.append(engine)
                ready.set()
                ended.wait()
        except BaseException as error:  # it is raised where the engine is wanted
            if not ended.is_set():
                failed.append(error)
            ready.set()

    def wait() -> TextEngine:
        ready.wait()
        if failed:
            # Taken out: an error that its own frames hold, with the sockets in them, would wait for a collection.
            raise failed.pop()
        return opened[0]

    thread = threading.Thread(target=work, name="engine-start", daemon=True)
    thread.start()
    try:
        yield wait
    finally:
        ended.set()
        if ready.is_set():
            thread.join()
        failed.clear()


def engine_options(bundle: Bundle, home: Path, settings: Settings, layout: Layout) -> EngineOptions:
    """llama.cpp's options for a bundle, with the home's compiled articles and the branch's settings."""
    entries = read_manifest(bundle.root).files
    weights = next((entry.sha256 for entry in entries if bundle.root / entry.path == bundle.model_path), "")
    # Packs are not encrypted: where the journal is, customers' words must not be on disk in clear as token ids.
    keeps_sessions = settings.conversations_mib > 0 and settings.journal_key is None
    return EngineOptions(
        bundle.model_path,
        context_tokens=bundle.prompt.context_tokens,
        threads=settings.threads,
        slots=settings.slots,
        queue_limit=settings.queue_limit,
        prefer=settings.prefer,
        kv_type=settings.kv_type,
        layout=layout,
        article_folder=home / FOLDER,
        article_bytes=settings.knowledge_mib << 20,
        article_coding=settings.knowledge_coding,
        session_folder=home / SESSION_FOLDER if keeps_sessions else None,
        session_bytes=settings.conversations_mib << 20,
        weights_sha256=weights,
        memory_bytes=settings.memory_mib << 20 if settings.memory_mib else None,
        nice=settings.nice,
    )


def _open_onnx(bundle: Bundle, settings: Settings, layout: Layout) -> OnnxEngine:
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
        layout=layout,
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
