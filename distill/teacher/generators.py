"""A teacher that speaks: a GGUF in the engine, or a server's chat; both answer a record's question from sections.

Promises: each may be asked in its own template, a GGUF with the one it carries, a server with the one it applies, so
that a teacher whose tokens are not its student's can be asked at all. Knows nothing of which replies are worth learning
(`distill.teacher.sampled_replies`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from runtime.prompting.prompt_spec import PromptSpec, section_text
from runtime.prompting.truncate import truncate_tokens
from runtime.text.articles import Section
from runtime.text.records import Record

if TYPE_CHECKING:
    from distill.models.openai_endpoint import Endpoint

TOP_P = 0.95


@dataclass(frozen=True)
class GeneratedReply:
    """A reply, and what it was given to rest on."""

    text: str
    shown: Sequence[Section]
    finished: bool
    """Whether it ended by itself, not at the token limit."""


class Generator(Protocol):
    """What sampling needs of a teacher."""

    def reply(self, record: Record, sections: Sequence[Section], *, temperature: float, seed: int) -> GeneratedReply:
        """One reply to the record's question; `sections` best first."""
        ...


class GgufGenerator:
    """A GGUF in the engine; open it with `gguf_generator`."""

    def __init__(self, engine: Any, spec: PromptSpec) -> None:
        self._engine, self._spec = engine, spec
        self._stop = frozenset(engine.vocab.control_token(text) for text in spec.pieces.stop)

    def reply(self, record: Record, sections: Sequence[Section], *, temperature: float, seed: int) -> GeneratedReply:
        """The same file, record and seed give the same reply."""
        from runtime.engine.core.sampling_params import SamplingParams

        engine, spec = self._engine, self._spec
        room = engine.context_tokens - spec.answer_tokens
        tokens, shown = truncate_tokens(spec, engine.vocab, record.lang, sections, record.context, record.query, room)
        params = SamplingParams(
            max_tokens=spec.answer_tokens, temperature=temperature, top_p=TOP_P, seed=seed, stop=self._stop
        )
        generation = engine.generate(tokens, params, threading.Event())
        text = "".join(piece.text for piece in generation).strip()
        return GeneratedReply(text, shown, generation.stats.finish == "stop")


@contextmanager
def gguf_generator(gguf: Path, spec: PromptSpec, *, threads: int = 2) -> Iterator[GgufGenerator]:
    """Open a GGUF that writes replies; `spec` has the chat pieces of its prompts."""
    # llama.cpp's library takes time to load, and most stages ask no GGUF for replies.
    from runtime.engine.core.options import EngineOptions
    from runtime.engine.llama.engine import LlamaEngine

    with LlamaEngine(EngineOptions(gguf, context_tokens=spec.context_tokens, threads=threads)) as engine:
        yield GgufGenerator(engine, spec)


class EndpointGenerator:
    """A server's chat, which puts its own template around messages."""

    def __init__(self, endpoint: Endpoint, spec: PromptSpec) -> None:
        self._endpoint, self._spec = endpoint, spec

    def reply(self, record: Record, sections: Sequence[Section], *, temperature: float, seed: int) -> GeneratedReply:
        """All sections are shown; the server cuts nothing."""
        spec = self._spec
        rules = spec.system.get(record.lang) or next(iter(spec.system.values()))
        system = rules + "\n\n" + "".join(section_text(section) for section in reversed(sections))
        turns = [{"role": turn.role, "content": turn.content} for turn in record.context]
        messages = [{"role": "system", "content": system}, *turns, {"role": "user", "content": record.query}]
        text, finish = self._endpoint.chat(
            messages, max_tokens=spec.answer_tokens, temperature=temperature, top_p=TOP_P, seed=seed
        )
        return GeneratedReply(text.strip(), sections, finish == "stop")
