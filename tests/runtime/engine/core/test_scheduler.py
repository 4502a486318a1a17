"""The queue and its computing thread, with a backend that fails on request: nobody waits for a thread that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from runtime.engine.core.batch_planner import StepCosts
from runtime.engine.core.generation import Generation, Place, Stats, TextPiece
from runtime.engine.core.interface import Vocabulary
from runtime.engine.core.request import Request
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.core.scheduler import Scheduler
from runtime.errors import EdgedeskError, ModelError, UnavailableError

NEVER = threading.Event()


class EchoBackend:
    """Answers each request with one piece; raises what a test puts into `faults` under a method's name, once."""

    def __init__(self) -> None:
        self.slots = 1
        self.costs = StepCosts(16)
        self.completed = 0
        self.faults: dict[str, list[BaseException]] = {}
        self.active: list[Request] = []
        self.hold = threading.Event()
        self.hold.set()

    @property
    def busy(self) -> bool:
        return bool(self.active)

    @property
    def answering(self) -> int:
        return len(self.active)

    def admit(self, request: Request) -> bool:
        self._raise("admit")
        if len(self.active) == self.slots:
            return False
        self.active.append(request)
        return True

    def step(self) -> None:
        self._raise("step")
        self.hold.wait(30)
        request = self.active.pop()
        request.generation.put(TextPiece("echo"))
        request.generation.put(Stats(1, 0, 1, 0.0, 0.0, 0.0, "stop"))
        self.completed += 1

    def forget(self, conversation: str) -> None:
        self._raise("forget")

    def seconds_left(self) -> list[float]:
        return [0.0] * len(self.active)

    def fail(self, error: EdgedeskError) -> None:
        active, self.active = self.active, []
        for request in active:
            request.generation.put(error)
        self._raise("fail")

    def _raise(self, name: str) -> None:
        if self.faults.get(name):
            raise self.faults[name].pop()


class EchoEngine(Scheduler):
    @property
    def vocab(self) -> Vocabulary:
        raise NotImplementedError

    def _free(self) -> None:
        pass


@contextmanager
def opened(queue_limit: int = 4) -> Iterator[tuple[EchoEngine, EchoBackend]]:
    backend = EchoBackend()
    with EchoEngine(backend, context_tokens=64, queue_limit=queue_limit) as engine:
        yield engine, backend


def ask(engine: EchoEngine, tokens: int = 1) -> Generation:
    return engine.generate([1] * tokens, SamplingParams(), NEVER)


def text(generation: Generation) -> str:
    return "".join(piece.text for piece in generation)


@pytest.mark.parametrize("where", ["admit", "step", "forget"])
@pytest.mark.parametrize("error", [MemoryError(), ModelError("it broke"), UnavailableError("no sequence left")])
def test_scheduler_survives_an_exception_wherever_it_is_raised(where: str, error: Exception) -> None:
    """An exception in `admit` ended the thread: every request waited for ever, and new ones were still accepted."""
    with opened() as (engine, backend):
        backend.faults[where] = [error]
        if where == "forget":
            engine.forget("talk")
        else:
            with pytest.raises(EdgedeskError):
                text(ask(engine))
        assert text(ask(engine)) == "echo"
        assert engine.health().alive


def test_scheduler_counts_failed_steps_until_an_answer_is_complete() -> None:
    """What a process does again and again without ever answering is told to whoever watches it."""
    with opened() as (engine, backend):
        backend.faults["step"] = [MemoryError(), MemoryError()]
        for failures in (1, 2):
            with pytest.raises(ModelError):
                text(ask(engine))
            assert engine.health().failed_steps == failures
        text(ask(engine))
        text(ask(engine))  # the count is taken back in the computing thread, before it takes the next
        assert engine.health().failed_steps == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_scheduler_whose_thread_ends_fails_those_who_wait_and_refuses_new_requests() -> None:
    with opened() as (engine, backend):
        backend.faults = {"step": [MemoryError()], "fail": [MemoryError()]}
        asked = [ask(engine), ask(engine)]
        for generation in asked:
            with pytest.raises(EdgedeskError):
                text(generation)
        with pytest.raises(UnavailableError):
            ask(engine)


def test_scheduler_says_how_long_the_step_under_way_takes() -> None:
    with opened() as (engine, backend):
        assert engine.health().step_s == 0
        backend.hold.clear()
        waiting = ask(engine)
        assert isinstance(next(waiting.updates()), Place)
        while not (before := engine.health().step_s):
            pass
        assert engine.health().step_s > before
        backend.hold.set()
        assert text(waiting) == "echo"


@pytest.mark.parametrize("closed", [True, False])
def test_generation_ends_after_a_cancel_though_the_engine_stays_silent(
    closed: bool, count_trials: Callable[[str, int], None]
) -> None:
    """F17: a reader's place comes free although the engine never says another word."""
    gone = threading.Event()
    generation = Generation([1, 2], SamplingParams(), gone, cancel_grace_s=0.0)
    generation.put(TextPiece("a"))
    updates = generation.updates()
    assert next(updates) == TextPiece("a")
    generation.close() if closed else gone.set()
    assert list(updates) == []
    assert generation.stats.finish == "cancelled"
    count_trials("F17", 1)


def test_generation_takes_the_engines_own_counts_when_they_come_in_time() -> None:
    generation = Generation([1, 2], SamplingParams(), NEVER)
    generation.close()
    generation.put(Stats(2, 1, 5, 0.0, 0.0, 0.0, "cancelled"))
    assert list(generation) == []
    assert generation.stats.answer_tokens == 5
