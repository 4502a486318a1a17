"""A bundle's articles as knowledge packs: which there are, which are missing, and building those.

Promises: an article is compiled just as `runtime.prompting.prompt_spec` lays it out, so a question finds it; building
can be stopped at any time and continues where it was. Knows nothing of llama.cpp.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from runtime.engine.core.generation import NO_ROOM
from runtime.errors import EdgedeskError, InputError
from runtime.prompting.encode import encode_parts
from runtime.prompting.prompt_spec import Tokenizer, layout
from runtime.retrieval.past_questions import read_past_questions
from runtime.text.articles import Section, load_articles
from runtime.understanding.dictation_classifier import load_classifier
from runtime.understanding.injection_filter import without_injected

if TYPE_CHECKING:
    from runtime.base.settings import IdleCompile
    from runtime.bundle.bundle import Bundle
    from runtime.engine.core.generation import Flag
    from runtime.engine.core.interface import TextEngine
    from runtime.prompting.prompt_tokens import Prompt

RETRY_S = 60.0
"""After which compiling is tried again when the engine has failed."""


class CompileReport(NamedTuple):
    """What compiling has done."""

    articles: int
    built: int
    on_disk: int
    """Were compiled before."""
    too_long: int
    """Longer than a context, or refused by the engine; such an article cannot be shown to the model either."""
    no_room: int
    """Left for when they are asked for: what is asked for more fills the disk that compiled articles may take."""
    reason: str
    """Why nothing is compiled; empty when everything is in order."""


def order_sections(sections: Sequence[Section], policy: IdleCompile, citations: Mapping[str, int]) -> list[Section]:
    """What is compiled ahead of questions, in this order; `citations`: reference of a section to how often.

    `idle`: everything, what answers cited most before the rest. `cited`: only what answers cited. `off`: nothing.
    """
    often = sorted(sections, key=lambda section: -citations.get(section.ref, 0))
    if policy == "idle":
        return often
    return [section for section in often if citations.get(section.ref)] if policy == "cited" else []


def all_sections(bundle: Bundle) -> list[Section]:
    """Every section of every article, in both languages."""
    return [section for article in load_articles(bundle.articles_path) for section in article.sections]


def hot_sections_first(bundle: Bundle) -> list[Section]:
    """Every section, those first that answered most of the bundle's earlier questions: before a journal knows more."""
    asked = Counter(ref for question in read_past_questions(bundle.root) for ref in question.evidence)
    return order_sections(all_sections(bundle), "idle", asked)


def prompts(bundle: Bundle, tokenizer: Tokenizer, sections: Sequence[Section]) -> Iterator[Prompt]:
    """A prompt without tail for every section, as a question would show it."""
    for section in sections:
        parts = layout(bundle.prompt, section.lang, [section], (), "")
        yield encode_parts(parts._replace(tail=[]), tokenizer)


def compile_articles(
    engine: TextEngine,
    bundle: Bundle,
    cancel: Flag,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    sections: Sequence[Section] | None = None,
) -> CompileReport:
    """Compile what of the sections, by default all, is not on disk yet; `progress(done, all)` counts them.

    They are compiled as the desk shows them to the model: without what is withheld of them.
    """
    whole = all_sections(bundle) if sections is None else sections
    built = on_disk = too_long = no_room = 0
    if engine.layout == "exact":
        return CompileReport(len(whole), 0, 0, 0, 0, engine.layout_reason or "the bundle reads its prompts exactly")
    look = load_classifier(bundle).dictated
    shown = [kept for section in whole if (kept := without_injected(section, look))]
    wanted = list(prompts(bundle, engine.vocab, shown))
    for done, prompt in enumerate(wanted):
        progress(done, len(wanted))
        try:
            generation = engine.compile(prompt, cancel)
            for _ in generation:
                pass  # it has no pieces; this waits for its end
        except InputError:  # too long, or it has ended the engine: the others are compiled all the same
            too_long += 1
            continue
        if cancel.is_set():
            break
        # One that was ended for a question is built when it is asked for, or the next time.
        if generation.stats.finish == "stop":
            existed = generation.stats.reused_tokens >= len(prompt.articles[0])
            on_disk, built = on_disk + existed, built + (not existed)
        no_room += generation.stats.layout_reason == NO_ROOM
    progress(len(wanted), len(wanted))
    return CompileReport(len(wanted), built, on_disk, too_long, no_room, "")


@contextmanager
def compiling(engine: TextEngine, bundle: Bundle, sections: Sequence[Section] | None = None) -> Iterator[None]:
    """Compile in the background while the block runs: only when the engine has nothing else to do.

    When the engine crashes meanwhile and is started again, compiling continues later.
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
