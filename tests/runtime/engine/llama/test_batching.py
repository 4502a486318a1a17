"""Several answers at once: each is what it would have been alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.core.generation import Place
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.llama.model import LlamaModel, Row
from runtime.errors import UsageError

NEVER = threading.Event()
LOGITS_TOLERANCE = 2e-2
"""Of logits whose spread is several units: f16 keys and values, summed in another order."""
TEXTS = [
    "How long may I return it?",
    "退货期限是多久？",
    "How long may I keep it, and what does it cost to send it?",
    "x",
]


@pytest.fixture(scope="module")
def engine(random_gguf: Path) -> Iterator[LlamaEngine]:
    with LlamaEngine(
        EngineOptions(random_gguf, context_tokens=512, threads=1, batch_tokens=16, slots=4, queue_limit=64)
    ) as opened:
        yield opened


def write(engine: LlamaEngine, text: str, **params: object) -> str:
    tokens = engine.vocab.encode(text, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


def test_batching_gives_each_agent_what_it_would_get_alone(
    engine: LlamaEngine, random_gguf: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F15: eight agents at once, four different answers, none cut or mixed."""
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=512, threads=1, batch_tokens=16, slots=1)) as alone:
        wanted = {text: write(alone, text, max_tokens=40) for text in TEXTS}
    assert len(set(wanted.values())) == len(TEXTS)
    asked = TEXTS * 8
    with ThreadPoolExecutor(8) as agents:
        got = list(agents.map(lambda text: write(engine, text, max_tokens=40), asked))
    assert got == [wanted[text] for text in asked]
    count_trials("F15", len(asked))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 255), min_size=2, max_size=24), min_size=2, max_size=4),
    st.integers(0, 2**32),
)
def test_batching_keeps_the_logits_in_any_schedule(model: LlamaModel, prompts: list[list[int]], seed: int) -> None:
    """Random cuts of several sequences into common batches, against each read alone in one batch."""
    chance = random.Random(seed)
    alone = []
    for tokens in prompts:
        model.clear()
        model.decode([Row(token, place, 0, place == len(tokens) - 1) for place, token in enumerate(tokens)])
        alone.append(model.logits(len(tokens) - 1))
    model.clear()
    done = [0] * len(prompts)
    found: dict[int, np.ndarray] = {}
    while len(found) < len(prompts):
        rows, ends = [], {}
        for number, tokens in enumerate(prompts):
            count = chance.randint(0, len(tokens) - done[number])
            places = range(done[number], done[number] + count)
            rows += [Row(tokens[place], place, number, place == len(tokens) - 1) for place in places]
            done[number] += count
            if count and done[number] == len(tokens):
                ends[number] = len(rows) - 1
        if rows:
            model.decode(rows)
            found |= {number: model.logits(row) for number, row in ends.items()}
    for number, logits in enumerate(alone):
        assert np.abs(found[number] - logits).max() <= LOGITS_TOLERANCE
    model.clear()


@pytest.fixture(scope="module")
def model(random_gguf: Path) -> Iterator[LlamaModel]:
    opened = LlamaModel(random_gguf, context_tokens=256, slots=1, sequences=4, threads=1, batch_tokens=128)
    yield opened
    opened.close()


def test_batching_writes_while_another_prompt_is_read(endless_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=8000, threads=1, slots=2, batch_tokens=32)) as engine:
        encode = engine.vocab.encode
        writer = engine.generate(encode("?\n", control=False), SamplingParams(max_tokens=7000), NEVER)
        pieces = iter(writer)
        next(pieces)
        reader = engine.generate(encode("x" * 1000 + "\n", control=False), SamplingParams(max_tokens=1), NEVER)
        done = threading.Event()
        threading.Thread(target=lambda: (list(reader), done.set()), daemon=True).start()
        beside = 0
        while not done.is_set():
            next(pieces)
            beside += 1
        # Each step reads at most a batch of 32, so there were thirty of them, and each wrote.
        assert reader.stats.prompt_tokens == 1001
        assert beside >= 1001 // 32 // 2
        writer.close()


def test_kv_cache_reuses_a_conversation_though_others_came_between(engine: LlamaEngine) -> None:
    encode = engine.vocab.encode
    first = encode("Talk one. " * 8, control=False)
    generation = engine.generate(first, SamplingParams(max_tokens=8), NEVER)
    said = encode("".join(piece.text for piece in generation), control=False)
    for text in TEXTS:
        write(engine, text, max_tokens=4)
    again = engine.generate([*first, *said, *encode(" And two?", control=False)], SamplingParams(max_tokens=4), NEVER)
    list(again)
    assert again.stats.reused_tokens >= len(first)


def test_kv_cache_never_runs_out_under_active_requests(random_gguf: Path) -> None:
    with (
        LlamaEngine(
            EngineOptions(random_gguf, context_tokens=256, threads=1, slots=3, batch_tokens=32, queue_limit=99)
        ) as engine,
        ThreadPoolExecutor(6) as agents,
    ):
        prompts = [f"{number} " * 55 for number in range(30)]
        params = SamplingParams(max_tokens=90)
        asked = [engine.generate(engine.vocab.encode(text, control=False), params, NEVER) for text in prompts]
        list(agents.map(list, asked))
        assert {one.stats.finish for one in asked} <= {"length", "stop"}


def test_queue_predicts_the_wait(endless_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(endless_gguf, context_tokens=4000, threads=1, slots=1)) as engine:
        tokens = engine.vocab.encode("?\n", control=False)
        list(engine.generate(tokens, SamplingParams(max_tokens=200), NEVER))
        first = engine.generate(tokens, SamplingParams(max_tokens=3000), NEVER)
        pieces = iter(first)
        next(pieces)
        second = engine.generate(tokens, SamplingParams(max_tokens=1), NEVER)
        update = next(second.updates())
        assert isinstance(update, Place)
        assert update.position == 1
        assert update.wait_s > 0
        first.close()


def test_engine_options_that_cannot_work_are_named(random_gguf: Path) -> None:
    with pytest.raises(UsageError, match="q4_0"):
        LlamaEngine(EngineOptions(random_gguf, context_tokens=256, threads=1, kv_type="q4_0"))
    with pytest.raises(UsageError, match="too small"):
        LlamaEngine(EngineOptions(random_gguf, context_tokens=256, threads=1, slots=9, batch_tokens=16))


def test_q8_0_keys_and_values_give_nearly_the_same_logits(random_gguf: Path) -> None:
    found = []
    for kv_type in ("f16", "q8_0"):
        model = LlamaModel(
            random_gguf, context_tokens=256, slots=1, sequences=4, threads=1, batch_tokens=64, kv_type=kv_type
        )
        model.decode([Row(65 + place, place, 0, place == 19) for place in range(20)])
        found.append(model.logits(19))
        model.close()
    assert 0 < np.abs(found[0] - found[1]).max() < 0.5
