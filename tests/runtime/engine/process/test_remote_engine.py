"""The engine's own process: its death costs what it was writing, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.generation import TextPiece
from runtime.engine.core.sampling_params import SamplingParams, Scored
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.process.protocol import (
    pack_params,
    pack_piece,
    pack_prompt,
    unpack_params,
    unpack_piece,
    unpack_prompt,
)
from runtime.engine.process.remote_engine import RemoteEngine
from runtime.errors import InputError, MissingError, ModelError, UnavailableError, from_dict
from runtime.prompting.prompt_tokens import Prompt

NEVER = threading.Event()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        os.sched_yield()


@pytest.fixture
def endless(endless_gguf: Path) -> Iterator[RemoteEngine]:
    with RemoteEngine(endless_gguf, context_tokens=60000, threads=1, slots=2, first_pause_s=0.01) as engine:
        yield engine


def ask(engine: RemoteEngine | LlamaEngine, text: str, **params: object) -> str:
    tokens = engine.vocab.encode(text, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


def test_it_answers_as_the_engine_itself_does(random_gguf: Path, tmp_path: Path) -> None:
    given_to_both = {"context_tokens": 512, "threads": 1, "layout": "parallel", "folder": tmp_path}
    with RemoteEngine(random_gguf, **given_to_both) as remote, LlamaEngine(random_gguf, **given_to_both) as engine:  # type: ignore[arg-type]
        assert (remote.context_tokens, remote.layout) == (engine.context_tokens, engine.layout)
        for params in ({}, {"temperature": 1.3, "seed": 4, "logprobs": 2}, {"stop_strings": ("a", "退")}):
            assert ask(remote, "退货?", max_tokens=30, **params) == ask(engine, "退货?", max_tokens=30, **params)
        tokens = tuple(engine.vocab.encode("Thirty days.", control=False))
        compiled = remote.compile(Prompt((65, 66), (tokens,), ()), NEVER)
        assert list(compiled) == []
        assert compiled.stats.finish == "stop"
        ahead = remote.prepare(Prompt((65, 66), (tokens,), (67, 68)), NEVER, conversation="c")
        assert list(ahead) == []
        asked = remote.generate(
            Prompt((65, 66), (tokens,), (67, 68, 69)), SamplingParams(max_tokens=2), NEVER, conversation="c"
        )
        list(asked)
        assert (asked.stats.layout, asked.stats.reused_tokens) == ("parallel", 2 + len(tokens) + 2)
        with pytest.raises(InputError, match="the context holds 512"):
            list(remote.generate([1] * 600, SamplingParams(), NEVER))


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_ends_only_what_was_being_written_and_the_next_answer_comes(
    endless: RemoteEngine, how: signal.Signals
) -> None:
    """Part of F18: SIGSEGV, and SIGKILL as of the OOM killer; started again; asked again it answers."""
    before = endless.pid
    both = [
        endless.generate(endless.vocab.encode("?\n", control=False), SamplingParams(max_tokens=50_000), NEVER)
        for _ in range(2)
    ]
    for one in both:
        assert next(iter(one)).text
    os.kill(before, how)
    for one in both:
        with pytest.raises(UnavailableError, match="stopped in the middle of this answer"):
            list(one)
    wait_for(lambda: endless.ready)
    assert endless.pid != before
    assert endless.crash_report().total == 1
    assert ask(endless, "?\n", max_tokens=20)
    assert endless.crash_report().total == 0


def test_while_it_is_started_again_questions_are_refused_not_lost(endless_gguf: Path) -> None:
    with RemoteEngine(endless_gguf, context_tokens=512, threads=1, first_pause_s=60.0) as engine:
        os.kill(engine.pid, signal.SIGKILL)
        wait_for(lambda: not engine.ready)
        with pytest.raises(UnavailableError, match="being started again"):
            engine.generate([65], SamplingParams(), NEVER)
        assert engine.vocab.encode("still here", control=False)  # closing does not wait for the pause


def test_each_death_without_an_answer_between_lengthens_the_pause(endless: RemoteEngine) -> None:
    for deaths in (1, 2, 3):
        wait_for(lambda: endless.ready)
        os.kill(endless.pid, signal.SIGKILL)
        wait_for(lambda deaths=deaths: endless.crash_report().total == deaths)  # type: ignore[misc]
    wait_for(lambda: endless.ready)
    assert ask(endless, "?\n", max_tokens=3)


def test_a_cancel_reaches_the_other_process(endless: RemoteEngine) -> None:
    """F17 for the engine's own process."""
    gone = threading.Event()
    tokens = endless.vocab.encode("?\n", control=False)
    generation = endless.generate(tokens, SamplingParams(max_tokens=50_000), gone)
    next(iter(generation))
    gone.set()
    list(generation)
    assert generation.stats.finish == "cancelled"
    assert generation.stats.answer_tokens < 50_000
    late = endless.generate(tokens, SamplingParams(max_tokens=50_000), NEVER)
    next(iter(late))
    late.close()
    list(late)
    assert late.stats.finish == "cancelled"


def test_a_process_that_has_grown_is_replaced_when_it_is_idle(endless_gguf: Path) -> None:
    with RemoteEngine(endless_gguf, context_tokens=512, threads=1, growth_bytes=-1, first_pause_s=0.01) as engine:
        before = engine.pid
        wait_for(lambda: engine.pid != before and engine.ready)
        assert engine.crash_report().total == 0


def test_closing_ends_what_is_in_work(endless_gguf: Path) -> None:
    engine = RemoteEngine(endless_gguf, context_tokens=60000, threads=1)
    generation = engine.generate(engine.vocab.encode("?\n", control=False), SamplingParams(max_tokens=50_000), NEVER)
    next(iter(generation))
    engine.close()
    with pytest.raises(UnavailableError, match="closing"):
        list(generation)
    with pytest.raises(UnavailableError):
        engine.generate([65], SamplingParams(), NEVER)


def test_what_keeps_a_model_from_loading_is_raised_here(tmp_path: Path, scripted_gguf: Path) -> None:
    with pytest.raises(MissingError):
        RemoteEngine(tmp_path / "none.gguf", context_tokens=256, threads=1)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(scripted_gguf.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="cannot load"):
        RemoteEngine(cut, context_tokens=256, threads=1)


@given(
    st.builds(
        SamplingParams,
        max_tokens=st.integers(0, 9),
        temperature=st.floats(0, 2),
        stop=st.frozensets(st.integers(0, 9)),
        stop_strings=st.lists(st.text(max_size=3)).map(tuple),
        grammar=st.text(max_size=5),
        logprobs=st.none() | st.integers(0, 3),
    ),
    st.lists(st.lists(st.integers(0, 99), max_size=4).map(tuple), max_size=3).map(tuple),
)
def test_requests_survive_the_wire(params: SamplingParams, articles: tuple[tuple[int, ...], ...]) -> None:
    import json

    prompt = Prompt((1, 2), articles, (3,))
    assert unpack_prompt(json.loads(json.dumps(pack_prompt(prompt)))) == prompt
    assert unpack_params(json.loads(json.dumps(pack_params(params)))) == params


@given(st.text(), st.binary(max_size=5), st.floats(-50, 0))
def test_pieces_and_errors_survive_the_wire(text: str, data: bytes, logprob: float) -> None:
    import json

    piece = TextPiece(text, (Scored(5, data, logprob, ((5, data, logprob),)),))
    assert unpack_piece(json.loads(json.dumps(pack_piece(piece)))) == piece
    error = from_dict(json.loads(json.dumps(InputError(text, where="x", hint="y").to_dict())))
    assert isinstance(error, InputError)
    assert (error.what, error.where, error.hint) == (text, "x", "y")
