"""Drafts written before their questions come: the same text at once, nothing stale, and nobody waits for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.engine.core.generation import Generation, Place, Progress
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.draft_shelf import MOST_DRAFTS
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.llama.model import Row
from runtime.prompting.prompt_tokens import Layout, Prompt

NEVER = threading.Event()
ARTICLES = ("Returns\nWithin 30 days of delivery.\n\n", "配送\n标准配送费为4.90欧元。\n\n")
EN, ZH = "How long may I keep it?", "退货期限是多久？"
GREEDY = SamplingParams(max_tokens=24)
CAP = 6


def prompt(engine: LlamaEngine, question: str) -> Prompt:
    def encode(text: str) -> tuple[int, ...]:
        return tuple(engine.vocab.encode(text, control=False))

    return Prompt(encode("Rules of the shop.\n\n"), tuple(map(encode, ARTICLES)), encode(f"Q: {question}\nA:"))


def draft(
    engine: LlamaEngine, question: str, name: str = "c", params: SamplingParams = GREEDY, cap: int = CAP
) -> Generation:
    return engine.draft(prompt(engine, question), params, NEVER, conversation=name, ahead_tokens=cap)


def ask(engine: LlamaEngine, question: str, name: str | None = "c", params: SamplingParams = GREEDY) -> Generation:
    return engine.generate(prompt(engine, question), params, NEVER, conversation=name)


def text(generation: Generation) -> str:
    return "".join(piece.text for piece in generation)


@pytest.mark.parametrize("layout", ["exact", "parallel"])
@pytest.mark.parametrize("question", [EN, ZH])
@pytest.mark.parametrize("params", [GREEDY, SamplingParams(max_tokens=24, temperature=0.8, top_p=0.9, seed=5)])
def test_draft_ahead_is_what_would_have_been_written(
    random_gguf: Path, tmp_path: Path, layout: Layout, question: str, params: SamplingParams
) -> None:
    given = {"context_tokens": 512, "threads": 1, "slots": 2, "layout": layout, "article_folder": tmp_path}
    with LlamaEngine(EngineOptions(random_gguf, article_coding="f16", **given)) as engine:  # type: ignore[arg-type]
        written = draft(engine, question, params=params)
        assert list(written) == [], "its text leaves the engine with its question only"
        assert 1 <= written.stats.answer_tokens <= CAP
        assert written.stats.processor_s > 0
        asked = ask(engine, question, params=params)
        updates = list(asked.updates())
        got = "".join(one.text for one in updates if not isinstance(one, Place | Progress))
        stats = asked.stats
        assert isinstance(updates[0], Place)
        assert stats.ahead_tokens == written.stats.answer_tokens
        assert stats.reused_tokens == stats.prompt_tokens, "nothing of the prompt was left to be read"
        assert not len(engine.backend.drafts)
        assert got == text(ask(engine, question, name=None, params=params))


@pytest.mark.parametrize(("typed", "asked"), [(EN, EN + " "), (EN, EN[:-1]), (ZH, ZH[:-1] + "?"), (ZH, "\n" + ZH)])
def test_draft_of_a_text_that_has_changed_is_never_shown(random_gguf: Path, typed: str, asked: str) -> None:
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=512, threads=1, slots=2)) as engine:
        list(draft(engine, typed))
        assert len(engine.backend.drafts) == 1
        changed = ask(engine, asked)
        got = text(changed)
        assert changed.stats.ahead_tokens == 0
        assert got == text(ask(engine, asked, name=None))
        assert len(engine.backend.drafts) == 0
        # Nor one that is to be chosen in another way, nor anybody else's.
        list(draft(engine, typed))
        other = ask(engine, typed, params=SamplingParams(max_tokens=24, temperature=0.5, seed=1))
        text(other)
        list(draft(engine, typed))
        foreign = ask(engine, typed, name="another")
        text(foreign)
        assert other.stats.ahead_tokens == foreign.stats.ahead_tokens == 0


def test_draft_of_a_question_that_comes_in_its_midst_is_gone_on_with(endless_gguf: Path) -> None:
    params = SamplingParams(max_tokens=300)
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=2000, threads=1, slots=1)) as engine:
        writing = draft(engine, EN, params=params, cap=280)
        while not writing.progress.done:
            pass
        asked = ask(engine, EN, params=params)
        assert text(asked) == text(ask(engine, EN, name=None, params=params))
        assert list(writing) == []
        assert asked.stats.answer_tokens == 300
        assert asked.stats.ahead_tokens == writing.stats.answer_tokens


def test_draft_has_no_row_in_a_step_that_somebody_waits_for(
    endless_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = SamplingParams(max_tokens=100)
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=2000, threads=1, slots=2)) as engine:
        runner, decode, beside = engine.backend, engine.backend.model.decode, []

        def watched(rows: Sequence[Row]) -> None:
            waited_for = {one.lease.id for one in runner.active if not one.request.background}
            beside.append((bool(waited_for), all(row.sequence in waited_for for row in rows)))
            decode(rows)

        monkeypatch.setattr(runner.model, "decode", watched)
        writing = draft(engine, EN, name="typing", params=params, cap=90)
        while not writing.progress.done:
            pass
        first = ask(engine, "Y", name="asking", params=params)
        second = ask(engine, "N", name="also asking", params=params)
        text(first), text(second)
        assert list(writing) == []
        assert writing.stats.answer_tokens == 90, "it goes on when nobody waits any more"
        assert [only for waits, only in beside if waits] == [True] * sum(waits for waits, _ in beside)
        assert sum(waits for waits, _ in beside) >= 10


@pytest.mark.parametrize("how", ["forget", "prefetch", "another", "question"])
def test_draft_goes_with_its_text(random_gguf: Path, how: str) -> None:
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=512, threads=1, slots=2)) as engine:
        list(draft(engine, EN))
        if how == "forget":
            engine.forget("c")
        elif how == "prefetch":
            list(engine.prefetch(prompt(engine, EN[:8]), NEVER, conversation="c"))
        elif how == "another":
            list(draft(engine, ZH))
        else:
            text(ask(engine, ZH))
        asked = ask(engine, EN)
        text(asked)
        assert asked.stats.ahead_tokens == 0
        leases = engine.backend.cache.ledger.leases.values()
        assert not [lease for lease in leases if lease.prefetched]
        assert not len(engine.backend.drafts)


def test_drafts_hold_no_room_that_a_question_needs(random_gguf: Path) -> None:
    long = "x" * 150
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=512, threads=1, slots=1)) as engine:
        for number in range(MOST_DRAFTS + 3):
            list(draft(engine, f"{number} {long}", name=f"typing{number}"))
            assert len(engine.backend.drafts) <= MOST_DRAFTS
        wanted = text(ask(engine, EN, name="asking", params=SamplingParams(max_tokens=200)))
        assert wanted
        # One whose room was taken is written anew, and says the same.
        ahead = 0
        for number in range(MOST_DRAFTS + 3):
            asked = ask(engine, f"{number} {long}", name=f"typing{number}")
            assert text(asked) == text(ask(engine, f"{number} {long}", name=None))
            ahead += asked.stats.ahead_tokens > 0
        assert ahead < MOST_DRAFTS


def test_draft_that_finds_no_room_is_dropped(endless_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=512, threads=1, slots=1)) as engine:
        asked = ask(engine, EN, params=SamplingParams(max_tokens=380))
        writing = draft(engine, "x" * 200, name="typing")
        text(asked)
        assert list(writing) == []
        assert writing.stats.finish == "cancelled" or writing.stats.answer_tokens
