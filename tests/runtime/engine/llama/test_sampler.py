"""How tokens are chosen, with real models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.tools.logits_recorder import LogitsRecorder

NEVER = threading.Event()
RECORDER = LogitsRecorder()


@pytest.fixture(scope="module")
def engine(random_gguf: Path) -> Iterator[LlamaEngine]:
    options = EngineOptions(random_gguf, context_tokens=512, threads=1, batch_tokens=32, slots=3)
    with LlamaEngine(options, make_sampler=RECORDER) as opened:
        yield opened


def write(engine: LlamaEngine, text: str, **params: object) -> str:
    tokens = engine.vocab.encode(text, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


def test_stop_string_ends_the_answer_wherever_tokens_cut_it(scripted_gguf: Path) -> None:
    with LlamaEngine(EngineOptions(scripted_gguf, context_tokens=512, threads=1)) as engine:
        for stops, answer in (
            (("days of",), "You can return most items within 30 "),
            (("大多数", " 30"), "You can return most items within"),
            (
                ("nowhere",),
                "You can return most items within 30 days of delivery or collection. 大多数商品可在30天内退货。",
            ),
        ):
            assert write(engine, "?\n", stop_strings=stops) == answer


def test_logits_recorder_sees_each_token_with_the_logits_it_was_chosen_from(engine: LlamaEngine) -> None:
    tokens = engine.vocab.encode("你好", control=False)
    params = SamplingParams(max_tokens=12)
    records = RECORDER.watch(params)
    generation = engine.generate(tokens, params, NEVER)
    text = "".join(piece.text for piece in generation)
    written = records[: generation.stats.answer_tokens]
    assert len(written) > 3
    for record in written:
        assert record.token == int(np.argmax(record.logits))  # greedy takes the likeliest
        assert np.exp(record.logprobs).sum() == pytest.approx(1, abs=1e-6)
        assert record.lead >= 0
    assert text == b"".join(engine.vocab.piece(record.token) for record in written).decode(errors="ignore")
