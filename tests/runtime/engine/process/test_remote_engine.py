"""The engine's own process: its crash, or its hanging, costs what it was writing, and nothing else."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.engine.core.crash_report import REFUSED_AFTER, CrashReport
from runtime.engine.core.generation import Generation, Place
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.process.engine_child import ProcessLimits
from runtime.engine.process.remote_engine import RemoteEngine
from runtime.errors import EdgedeskError, InputError, MissingError, ModelError, UnavailableError
from runtime.prompting.prompt_tokens import Prompt

NEVER = threading.Event()
CountTrials = Callable[[str, int], None]
QUICK = ProcessLimits(ping_every_s=0.1, unanswered_pings=50, first_pause_s=0.01, close_s=5.0)
"""A hang is noticed after five seconds, and nobody waits for a restart."""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        os.sched_yield()


@pytest.fixture
def endless(endless_gguf: Path) -> Iterator[RemoteEngine]:
    with RemoteEngine(EngineOptions(endless_gguf, context_tokens=60000, threads=1, slots=2), QUICK) as engine:
        yield engine


def ask(engine: RemoteEngine | LlamaEngine, text: str, **params: object) -> str:
    tokens = engine.vocab.encode(text, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


def begin(engine: RemoteEngine, text: str = "?\n", cancel: threading.Event = NEVER) -> Generation:
    """An endless answer that has begun."""
    params = SamplingParams(max_tokens=50_000)
    generation = engine.generate(engine.vocab.encode(text, control=False), params, cancel)
    assert next(iter(generation)).text
    return generation


def crash(engine: RemoteEngine, how: signal.Signals = signal.SIGKILL) -> None:
    """Crash the process and wait for its successor."""
    before = engine.pid
    os.kill(before, how)
    wait_for(lambda: engine.ready and engine.pid != before)


def test_remote_engine_answers_as_the_engine_itself_does(random_gguf: Path, tmp_path: Path) -> None:
    options = EngineOptions(random_gguf, context_tokens=512, threads=1, layout="parallel", article_folder=tmp_path)
    with RemoteEngine(options) as remote, LlamaEngine(options) as engine:
        assert (remote.context_tokens, remote.layout) == (engine.context_tokens, engine.layout)
        for params in ({}, {"temperature": 1.3, "seed": 4, "top_p": 0.9}, {"stop_strings": ("a", "退")}):
            assert ask(remote, "退货?", max_tokens=30, **params) == ask(engine, "退货?", max_tokens=30, **params)
        tokens = tuple(engine.vocab.encode("Thirty days.", control=False))
        compiled = remote.compile(Prompt((65, 66), (tokens,), ()), NEVER)
        assert list(compiled) == []
        assert compiled.stats.finish == "stop"
        prefetched = remote.prefetch(Prompt((65, 66), (tokens,), (67, 68)), NEVER, conversation="c")
        assert list(prefetched) == []
        asked = remote.generate(
            Prompt((65, 66), (tokens,), (67, 68, 69)), SamplingParams(max_tokens=2), NEVER, conversation="c"
        )
        list(asked)
        assert (asked.stats.layout, asked.stats.reused_tokens) == ("parallel", 2 + len(tokens) + 2)
        question, params = Prompt((65, 66), (tokens,), (67, 68, 70)), SamplingParams(max_tokens=6)
        drafted = remote.draft(question, params, NEVER, conversation="c", ahead_tokens=4)
        assert list(drafted) == []
        assert remote.answering == 0
        asked = remote.generate(question, params, NEVER, conversation="c")
        assert remote.answering == 1
        text = "".join(piece.text for piece in asked)
        assert asked.stats.ahead_tokens == drafted.stats.answer_tokens
        assert text == "".join(piece.text for piece in remote.generate(question, params, NEVER))
        with pytest.raises(InputError, match="the context holds 512"):
            list(remote.generate([1] * 600, SamplingParams(), NEVER))
        with pytest.raises(InputError, match="not valid Unicode"):
            remote.generate([1], SamplingParams(stop_strings=("\ud800",)), NEVER)


def test_engine_crash_or_hang_ends_only_what_was_being_written_and_the_next_answer_comes(
    endless: RemoteEngine, count_trials: CountTrials
) -> None:
    """F18: a crash (SIGSEGV), an abort of llama.cpp, the OOM killer (SIGKILL) and a hang (SIGSTOP).

    What was in work ends with an error, the process is started again, and the next answer comes.
    """
    signals = (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGSTOP)
    for how in signals:
        before = endless.pid
        both = [begin(endless), begin(endless)]
        os.kill(before, how)
        for generation in both:
            with pytest.raises(UnavailableError, match="stopped in the middle of this answer"):
                list(generation)
        wait_for(lambda: endless.ready)
        assert endless.pid != before
        assert endless.crash_report() == CrashReport(generate=1)
        assert ask(endless, "?\n", max_tokens=20)
        assert endless.crash_report() == CrashReport()
    count_trials("F18", len(signals))


def test_engine_that_runs_out_of_memory_fails_answers_and_is_replaced(
    random_gguf: Path, count_trials: CountTrials
) -> None:
    """F18: real exhaustion: the process may map nothing more (RLIMIT_AS), so whatever it allocates fails."""
    trials = 2
    with RemoteEngine(EngineOptions(random_gguf, context_tokens=512, threads=1), QUICK) as engine:
        for _ in range(trials):
            before, failed = engine.pid, False
            resource.prlimit(before, resource.RLIMIT_AS, (1, 1))
            while not failed:
                try:
                    ask(engine, "x" * 400, max_tokens=4)
                except EdgedeskError:
                    failed = True  # ended with an error, not with silence
            if engine.pid == before and engine.ready:
                os.kill(before, signal.SIGKILL)  # it lives on with what it has, and its limit cannot be raised again
            wait_for(lambda before=before: engine.ready and engine.pid != before)  # type: ignore[misc]
            ask(engine, "?", max_tokens=4)
            assert engine.crash_report() == CrashReport()
    count_trials("F18", trials)


def test_cancel_works_while_the_engine_hangs(endless_gguf: Path, count_trials: CountTrials) -> None:
    """F17: the reader's place comes free although the process is stopped and nothing has noticed yet."""
    patient = ProcessLimits(ping_every_s=3600.0)
    with RemoteEngine(EngineOptions(endless_gguf, context_tokens=60000, threads=1), patient) as engine:
        gone = threading.Event()
        generation = begin(engine, cancel=gone)
        os.kill(engine.pid, signal.SIGSTOP)
        gone.set()
        list(generation)
        assert generation.stats.finish == "cancelled"
        os.kill(engine.pid, signal.SIGCONT)
    count_trials("F17", 1)


def test_crash_report_is_reset_by_a_whole_answer_and_by_nothing_else(random_gguf: Path, tmp_path: Path) -> None:
    """A model that crashes whenever it writes is not acquitted by reading ahead, compiling, or a cancelled answer."""
    options = EngineOptions(random_gguf, context_tokens=512, threads=1, layout="parallel", article_folder=tmp_path)
    with RemoteEngine(options, QUICK) as engine:
        crash(engine)
        assert engine.crash_report() == CrashReport(idle=1)
        article = tuple(engine.vocab.encode("Thirty days.", control=False))
        list(engine.compile(Prompt((65, 66), (article,), ()), NEVER))
        list(engine.prefetch(Prompt((65, 66), (article,), (67, 68)), NEVER, conversation="c"))
        gone = threading.Event()
        gone.set()
        cancelled = engine.generate([65, 66], SamplingParams(max_tokens=400), gone)
        list(cancelled)
        assert engine.crash_report().total == 1
        list(engine.generate([65, 66], SamplingParams(max_tokens=2), NEVER))
        assert engine.crash_report() == CrashReport()


def test_prompt_that_ends_the_process_each_time_is_refused_and_others_are_answered(endless: RemoteEngine) -> None:
    poison, waits = "the one that kills\n", "innocent\n"
    for _ in range(REFUSED_AFTER):
        killed = [begin(endless, poison), begin(endless, poison)]
        innocent = endless.generate(endless.vocab.encode(waits, control=False), SamplingParams(max_tokens=20), NEVER)
        place = next(innocent.updates())
        assert isinstance(place, Place)
        assert place.position == 1
        crash(endless)
        for generation in (*killed, innocent):
            with pytest.raises(UnavailableError):
                list(generation)
    prompt = Prompt((), (), tuple(endless.vocab.encode(poison, control=False)))
    assert endless.refuses(prompt)
    for ask_again in (
        lambda: endless.generate(prompt, SamplingParams(max_tokens=20), NEVER),
        lambda: endless.prefetch(prompt, NEVER, conversation="c"),
    ):
        with pytest.raises(InputError, match="crashed each time"):
            ask_again()
    # It only waited for its turn behind the others.
    assert ask(endless, waits, max_tokens=20)
    assert endless.refuses(prompt), "an answer to another question acquits nobody"


def test_article_whose_compiling_ends_the_process_each_time_is_left_out(random_gguf: Path, tmp_path: Path) -> None:
    options = EngineOptions(random_gguf, context_tokens=20_000, threads=1, layout="parallel", article_folder=tmp_path)
    limits = ProcessLimits(first_pause_s=0.01, ping_every_s=0.005, step_s=0.001, close_s=5.0)
    with RemoteEngine(options, limits) as engine:  # which takes every step that is not short for a hang
        article = Prompt((65, 66), (tuple(engine.vocab.encode("Thirty days. " * 1400, control=False)),), ())
        for _ in range(REFUSED_AFTER):
            wait_for(lambda: engine.ready)
            with pytest.raises(UnavailableError):
                list(engine.compile(article, NEVER))
        wait_for(lambda: engine.ready)
        assert engine.refuses(article)
        with pytest.raises(InputError, match="crashed each time"):
            engine.compile(article, NEVER)


def test_process_that_cannot_be_started_for_a_while_is_started_when_it_can_be(
    random_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the system, which is none of ours, must not end what starts the process again."""
    with RemoteEngine(EngineOptions(random_gguf, context_tokens=256, threads=1), QUICK) as engine:
        python = sys.executable
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        os.kill(engine.pid, signal.SIGKILL)
        wait_for(lambda: engine.crash_report().load >= 2)
        monkeypatch.setattr(sys, "executable", python)
        wait_for(lambda: engine.ready)
        assert ask(engine, "?", max_tokens=3) is not None


def test_questions_are_refused_while_the_engine_is_started_again(endless_gguf: Path) -> None:
    limits = ProcessLimits(first_pause_s=60.0)
    with RemoteEngine(EngineOptions(endless_gguf, context_tokens=512, threads=1), limits) as engine:
        os.kill(engine.pid, signal.SIGKILL)
        wait_for(lambda: not engine.ready)
        with pytest.raises(UnavailableError, match="being started again"):
            engine.generate([65], SamplingParams(), NEVER)
        assert engine.vocab.encode("still here", control=False)  # closing does not wait for the pause


def test_failed_load_is_counted_and_tried_again(random_gguf: Path, tmp_path: Path, count_trials: CountTrials) -> None:
    """F18: crashes while loading are crashes; when what kept it from loading is gone, answers come again."""
    path = tmp_path / "model.gguf"
    path.write_bytes(random_gguf.read_bytes())
    with RemoteEngine(EngineOptions(path, context_tokens=256, threads=1), QUICK) as engine:
        data = path.read_bytes()
        replaced = tmp_path / "replaced.gguf"  # a new file: the old one is mapped by the process
        replaced.write_bytes(data[:2000])
        replaced.replace(path)
        os.kill(engine.pid, signal.SIGKILL)
        wait_for(lambda: engine.crash_report().load >= 3)
        replaced.write_bytes(data)
        replaced.replace(path)
        wait_for(lambda: engine.ready)
        assert engine.crash_report().load >= 3
        assert ask(engine, "?", max_tokens=3) is not None
        assert engine.crash_report() == CrashReport()
    count_trials("F18", 3)


def test_cancel_reaches_the_other_process(endless: RemoteEngine, count_trials: CountTrials) -> None:
    """F17: a cancel crosses to the engine's own process, from the flag and from `close`."""
    gone = threading.Event()
    generation = begin(endless, cancel=gone)
    gone.set()
    list(generation)
    assert generation.stats.finish == "cancelled"
    assert 0 < generation.stats.answer_tokens < 50_000
    late = begin(endless)
    late.close()
    list(late)
    assert late.stats.finish == "cancelled"
    count_trials("F17", 2)


def test_grown_process_is_replaced_and_questions_wait_for_the_next(
    endless_gguf: Path,
) -> None:
    limits = ProcessLimits(growth_bytes=-(1 << 40), ping_every_s=0.05, first_pause_s=0.01)
    with RemoteEngine(EngineOptions(endless_gguf, context_tokens=512, threads=1), limits) as engine:
        before = engine.pid
        wait_for(lambda: not engine.ready)
        assert ask(engine, "?\n", max_tokens=3)
        assert engine.pid != before
        assert engine.crash_report().total == 0


def test_remote_close_ends_active_requests(endless_gguf: Path) -> None:
    engine = RemoteEngine(EngineOptions(endless_gguf, context_tokens=60000, threads=1))
    generation = begin(engine)
    engine.close()
    with pytest.raises(UnavailableError, match="closing"):
        list(generation)
    with pytest.raises(UnavailableError):
        engine.generate([65], SamplingParams(), NEVER)


def test_session_packs_do_not_outlive_an_engine_that_was_killed(random_gguf: Path, tmp_path: Path) -> None:
    """Part of S11: the process cannot delete what customers wrote when it is killed, so its parent does."""
    options = EngineOptions(random_gguf, context_tokens=256, threads=1, session_folder=tmp_path / "turns")
    limits = ProcessLimits(first_pause_s=60.0)
    with RemoteEngine(options, limits) as engine:
        os.kill(engine.pid, signal.SIGKILL)
        wait_for(lambda: not engine.ready)
        (tmp_path / "turns" / "left.pack").write_bytes(b"token ids")
    assert list((tmp_path / "turns").iterdir()) == []


def test_load_error_of_the_child_is_raised_in_the_parent(tmp_path: Path, scripted_gguf: Path) -> None:
    with pytest.raises(MissingError):
        RemoteEngine(EngineOptions(tmp_path / "none.gguf", context_tokens=256, threads=1))
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(scripted_gguf.read_bytes()[:-5000])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        RemoteEngine(EngineOptions(cut, context_tokens=256, threads=1))


def test_process_that_never_finishes_loading_is_killed(endless_gguf: Path) -> None:
    limits = ProcessLimits(ping_every_s=0.01, load_s=0.02)
    with pytest.raises(ModelError, match="did not load the model within"):
        RemoteEngine(EngineOptions(endless_gguf, context_tokens=256, threads=1), limits)
