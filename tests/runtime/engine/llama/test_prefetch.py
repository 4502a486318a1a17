"""Reading ahead: what is typed is read while it is typed, and leaves no trace when it is not asked."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.prompting.prompt_tokens import Layout, Prompt

NEVER = threading.Event()
ARTICLES = ("Returns\nWithin 30 days of delivery.\n\n", "配送\n标准配送费为4.90欧元。\n\n")
QUESTION = "How long may I keep what I bought before I bring it back?"


def prompt(engine: LlamaEngine, question: str, end: str = "") -> Prompt:
    def encode(text: str) -> tuple[int, ...]:
        return tuple(engine.vocab.encode(text, control=False))

    return Prompt(
        encode("Rules of the shop.\n\n"), tuple(map(encode, ARTICLES)), encode("Q: " + question) + encode(end)
    )


def wait(generation: object) -> None:
    assert list(generation) == []  # type: ignore[call-overload]


@pytest.mark.parametrize("layout", ["exact", "parallel", "sequential"])
def test_prefetch_leaves_only_the_last_words_to_be_read(random_gguf: Path, tmp_path: Path, layout: Layout) -> None:
    given = {"context_tokens": 1024, "threads": 1, "slots": 2, "layout": layout, "article_folder": tmp_path}
    # Texts are compared, and random weights magnify what another coding loses.
    options = EngineOptions(random_gguf, article_coding="f16", **given)  # type: ignore[arg-type]
    with LlamaEngine(options) as engine:
        words = QUESTION.split(" ")
        for count in range(1, len(words)):
            wait(engine.prefetch(prompt(engine, " ".join(words[:count])), NEVER, conversation="c"))
        generation = engine.generate(
            prompt(engine, QUESTION, "\nA:"), SamplingParams(max_tokens=8), NEVER, conversation="c"
        )
        text = "".join(piece.text for piece in generation)
        left = generation.stats.prompt_tokens - generation.stats.reused_tokens
        assert left <= len(engine.vocab.encode(" " + words[-1] + "\nA:", control=False)) + 1
        assert not [lease for lease in engine.backend.cache.ledger.leases.values() if lease.prefetched]
    with LlamaEngine(options) as engine:
        plain = engine.generate(prompt(engine, QUESTION, "\nA:"), SamplingParams(max_tokens=8), NEVER)
        assert "".join(piece.text for piece in plain) == text


def test_prefetch_replaces_the_one_before_of_its_conversation(endless_gguf: Path, tmp_path: Path) -> None:
    with LlamaEngine(
        EngineOptions(endless_gguf, context_tokens=8000, threads=1, slots=1, layout="parallel", article_folder=tmp_path)
    ) as engine:
        older = engine.prefetch(prompt(engine, "x" * 1500), NEVER, conversation="c")
        newer = engine.prefetch(prompt(engine, "How"), NEVER, conversation="c")
        wait(newer)
        wait(older)
        assert newer.stats.finish == "stop"
        leases = engine.backend.cache.ledger.leases.values()
        assert len([lease for lease in leases if lease.prefetched]) == 1


def test_prefetch_of_another_conversation_does_not_delay_a_question(endless_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=8000, threads=1, slots=1, batch_tokens=32)) as engine:
        typed = engine.prefetch(prompt(engine, "x" * 1500), NEVER, conversation="typing")
        asked = engine.generate(prompt(engine, "Y", "\n"), SamplingParams(max_tokens=2), NEVER, conversation="asking")
        list(asked)
        assert not typed.ended
        wait(typed)
        assert typed.stats.finish in ("stop", "cancelled")
