"""A teacher that speaks: a GGUF in the engine, or a server's chat; both answer a record's question from sections.

Promises: each may be asked in its own template, a GGUF with the one it carries, a server with the one it applies, so
that a teacher whose tokens are not its student's can be asked at all. Knows nothing of which replies are worth learning
(`distill.sampled`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from runtime.articles import Section
from runtime.fitting import fit
from runtime.prompt import PromptSpec, section_text
from runtime.record import Record

if TYPE_CHECKING:
    from distill.endpoint import Endpoint

TOP_P = 0.95


@dataclass(frozen=True)
class Said:
    """A reply, and what it was given to rest on."""

    text: str
    shown: Sequence[Section]
    whole: bool
    """Whether it ended by itself."""


class Speaker(Protocol):
    """What sampling needs of a teacher."""

    def reply(self, record: Record, sections: Sequence[Section], *, temperature: float, seed: int) -> Said:
        """One reply to the record's question; `sections` best first."""
        ...


class GgufSpeaker:
    """A GGUF in the engine; open it with `gguf_speaker`."""

    def __init__(self, engine: Any, spec: PromptSpec) -> None:
        self._engine, self._spec = engine, spec
        self._stop = frozenset(engine.vocab.control_token(text) for text in spec.pieces.stop)

    def reply(self, record: Record, sections: Sequence[Section], *, temperature: float, seed: int) -> Said:
        """The same file, record and seed give the same reply."""
        from runtime.engine import SamplingParams

        engine, spec = self._engine, self._spec
        room = engine.context_tokens - spec.answer_tokens
        tokens, shown = fit(spec, engine.vocab, record.lang, sections, record.context, record.query, room)
        params = SamplingParams(
            max_tokens=spec.answer_tokens, temperature=temperature, top_p=TOP_P, seed=seed, stop=self._stop
        )
        generation = engine.generate(tokens, params, threading.Event())
        text = "".join(piece.text for piece in generation).strip()
        return Said(text, shown, generation.stats.finish == "stop")


@contextmanager
def gguf_speaker(gguf: Path, spec: PromptSpec, *, threads: int = 2) -> Iterator[GgufSpeaker]:
    """Open a GGUF as a speaker; `spec` has the chat pieces it is asked with."""
    from runtime.engine import Engine

    with Engine(gguf, context_tokens=spec.context_tokens, threads=threads) as engine:
        yield GgufSpeaker(engine, spec)


class EndpointSpeaker:
    """A server's chat, which puts its own template around messages."""

    def __init__(self, endpoint: Endpoint, spec: PromptSpec) -> None:
        self._endpoint, self._spec = endpoint, spec

    def reply(self, record: Record, sections: Sequence[Section], *, temperature: float, seed: int) -> Said:
        """All sections are shown; the server cuts nothing."""
        spec = self._spec
        rules = spec.system.get(record.lang) or next(iter(spec.system.values()))
        system = rules + "\n\n" + "".join(section_text(section) for section in reversed(sections))
        turns = [{"role": turn.role, "content": turn.content} for turn in record.context]
        messages = [{"role": "system", "content": system}, *turns, {"role": "user", "content": record.query}]
        text, finish = self._endpoint.chat(
            messages, max_tokens=spec.answer_tokens, temperature=temperature, top_p=TOP_P, seed=seed
        )
        return Said(text.strip(), sections, finish == "stop")
