"""The teacher's own replies to training questions, kept only when the articles bear them out.

A student that learns from gold replies alone never sees the teacher's way of saying things. Each question is asked a
few times with the sections its record rests on, at a temperature; a reply counts when every figure in it stands in
those sections or in the question, when it refuses exactly where nothing answers, and when it is new and complete. What
is dropped is counted by reason. Knows nothing of packs and captures.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.articles import Section
from runtime.citations import unsupported
from runtime.facts import is_refusal
from runtime.fitting import fit
from runtime.prompt import PromptSpec
from runtime.record import Record

TOP_P = 0.95


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn."""

    count: int
    """Replies a question is asked for."""
    temperature: float = 0.7
    seed: int = 0


def verdict(record: Record, reply: str, shown: Sequence[Section], spec: PromptSpec, seen: set[str]) -> str:
    """`kept`, or why a reply is not: `empty`, `repeated`, `ungrounded`, `refuses`, `does not refuse` (pure)."""
    text = " ".join(reply.split())
    if not text:
        return "empty"
    if text in seen:
        return "repeated"
    refused = is_refusal(reply, spec.refusal.get(record.lang) or next(iter(spec.refusal.values())))
    if refused != (not record.evidence):
        return "refuses" if refused else "does not refuse"
    said = Section("", "", "", "", " ".join([record.query, *(turn.content for turn in record.context)]), record.lang)
    return "ungrounded" if unsupported(reply, [*shown, said]) else "kept"


def sample_replies(
    gguf: Path,
    records: Sequence[Record],
    sections: Callable[[Record], Sequence[Section]],
    spec: PromptSpec,
    sampling: Sampling,
    *,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> tuple[list[Record], Mapping[str, int]]:
    """New records with the teacher's replies, and how many replies ended in which verdict.

    `sections(record)` are shown best first. The same file, records and seed give the same replies.
    """
    from runtime.engine import Engine, SamplingParams

    never = threading.Event()
    out: list[Record] = []
    counts: Counter[str] = Counter()
    with Engine(gguf, context_tokens=spec.context_tokens, threads=threads) as engine:
        stop = frozenset(engine.vocab.control_token(text) for text in spec.pieces.stop)
        room = engine.context_tokens - spec.answer_tokens
        for number, record in enumerate(records):
            tokens, shown = fit(spec, engine.vocab, record.lang, sections(record), record.context, record.query, room)
            seen = {" ".join(record.response.split())}
            for draw in range(sampling.count):
                params = SamplingParams(
                    max_tokens=spec.answer_tokens,
                    temperature=sampling.temperature,
                    top_p=TOP_P,
                    seed=sampling.seed + number * sampling.count + draw,
                    stop=stop,
                )
                generation = engine.generate(tokens, params, never)
                reply = "".join(piece.text for piece in generation).strip()
                why = verdict(record, reply, shown, spec, seen)
                if why == "kept" and generation.stats.finish != "stop":
                    why = "cut off"
                counts[why] += 1
                seen.add(" ".join(reply.split()))
                if why == "kept":
                    update = {"id": f"{record.id}/s{draw}", "response": reply, "source": "teacher"}
                    out.append(record.model_copy(update=update))
            advance(1)
    return out, dict(sorted(counts.items()))
