"""A bundle's articles as knowledge packs: which there are, which are missing, and building those.

Promises: an article is compiled just as `runtime.prompt` lays it out, so a question finds it; building can be stopped
at any time and goes on where it was. Knows nothing of llama.cpp.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runtime.articles import Section, load_articles
from runtime.dictation import trusted
from runtime.errors import EdgedeskError, InputError, MissingError
from runtime.eye import eye_of
from runtime.manifest import read_manifest
from runtime.prompt import Tokenizer, layout

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.engine import Flag, Layout, Prompt, RemoteEngine, TextEngine
    from runtime.engine.onnx import OnnxEngine
    from runtime.journal import Journal
    from runtime.prompt import PromptParts, PromptSpec
    from runtime.settings import IdleCompile, Settings

FOLDER = "knowledge"
TALKS = "run/turns"
RETRY_S = 60.0
"""After which compiling is tried again when the engine has failed."""


class Compiled(NamedTuple):
    """What came of compiling."""

    articles: int
    built: int
    there: int
    """Already on disk."""
    too_long: int
    """Longer than a context; such an article cannot be shown to the model either."""
    reason: str
    """Why nothing is compiled; empty when everything is in order."""


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
    from runtime.engine import RemoteEngine

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
    from runtime.engine.onnx import OnnxEngine

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
    from runtime.engine import LAYOUTS

    for known in LAYOUTS:
        if known == bundle.prompt.layout:
            return known
    raise InputError(
        f"layout '{bundle.prompt.layout}' is not known",
        where=str(bundle.root / "prompt.json"),
        hint=f"one of {', '.join(LAYOUTS)}",
    )


def chosen(sections: Sequence[Section], policy: IdleCompile, cited: Mapping[str, int]) -> list[Section]:
    """What is compiled ahead of questions, in this order; `cited`: reference of a section to how often.

    `idle`: everything, what answers cited most before the rest. `cited`: only what answers cited. `off`: nothing.
    """
    often = sorted(sections, key=lambda section: -cited.get(section.ref, 0))
    if policy == "idle":
        return often
    return [section for section in often if cited.get(section.ref)] if policy == "cited" else []


def cited(journal: Journal) -> Counter[str]:
    """How often the branch's answers cited each section."""
    with journal.reading() as db:
        rows = db.execute(
            "SELECT value, count(*) FROM turn, json_each(turn.details, '$.citations') GROUP BY value"
        ).fetchall()
    return Counter(dict(rows))


def all_sections(bundle: Bundle) -> list[Section]:
    """Every section of every article, in both languages."""
    return [section for article in load_articles(bundle.articles_path) for section in article.sections]


def prompts(bundle: Bundle, tokenizer: Tokenizer, sections: Sequence[Section]) -> Iterator[Prompt]:
    """A prompt without tail for every section, as a question would show it."""
    for section in sections:
        parts = layout(bundle.prompt, section.lang, [section], (), "")
        yield encode_parts(parts._replace(tail=[]), tokenizer)


def encode_parts(parts: PromptParts, tokenizer: Tokenizer) -> Prompt:
    """Token ids of a prompt in its three parts, each span tokenised alone."""
    from runtime.engine import Prompt
    from runtime.prompt import encode

    return Prompt(
        tuple(encode(parts.system, tokenizer)),
        tuple(tuple(encode(article, tokenizer)) for article in parts.articles),
        tuple(encode(parts.tail, tokenizer)),
    )


def without_end(spec: PromptSpec, tokenizer: Tokenizer, prompt: Prompt) -> Prompt:
    """A prompt up to the end of its question: without what the template writes behind that."""
    from runtime.prompt import Span, encode

    end = len(encode([Span(spec.pieces.user_close, True), Span(spec.pieces.assistant_open, True)], tokenizer))
    return replace(prompt, tail=prompt.tail[: len(prompt.tail) - end])


def compile_articles(
    engine: TextEngine,
    bundle: Bundle,
    cancel: Flag,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    sections: Sequence[Section] | None = None,
) -> Compiled:
    """Compile what of the sections, by default all, is not on disk yet; `progress(done, all)` counts them.

    They are compiled as the desk shows them to the model: without what is withheld of them.
    """
    whole = all_sections(bundle) if sections is None else sections
    built = there = too_long = 0
    if engine.layout == "exact":
        return Compiled(len(whole), 0, 0, 0, engine.layout_reason or "the bundle reads its prompts exactly")
    look = eye_of(bundle).dictated
    shown = [kept for section in whole if (kept := trusted(section, look))]
    wanted = list(prompts(bundle, engine.vocab, shown))
    for done, prompt in enumerate(wanted):
        progress(done, len(wanted))
        generation = engine.compile(prompt, cancel)
        try:
            for _ in generation:
                pass  # it has no pieces; this waits for its end
        except InputError:
            too_long += 1
            continue
        if cancel.is_set():
            break
        # One that had to give way to a question is built when it is asked for, or the next time.
        if generation.stats.finish == "stop":
            on_disk = generation.stats.reused_tokens >= len(prompt.articles[0])
            there, built = there + on_disk, built + (not on_disk)
    progress(len(wanted), len(wanted))
    return Compiled(len(wanted), built, there, too_long, "")


@contextmanager
def compiling(engine: TextEngine, bundle: Bundle, sections: Sequence[Section] | None = None) -> Iterator[None]:
    """Compile in the background while the block runs: only when the engine has nothing else to do.

    One that failed in the midst of it, and is started again, goes on with it later.
    """
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                compile_articles(engine, bundle, stop, sections=sections)
                return
            except EdgedeskError:
                stop.wait(RETRY_S)

    thread = threading.Thread(target=work, name="compiling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
