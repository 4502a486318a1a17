"""How many threads compute beside other processes: decided from what steps had of the processors."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.llama.thread_tuner import WINDOW_S, ThreadTuner, is_short

BESIDE = {1: 0.68, 2: 0.47}
"""Share of the time on a processor beside two busy processes on two cores, by threads (as measured)."""


def run(tuner: ThreadTuner, shares: dict[int, float], windows: int) -> list[int]:
    """Threads of each window."""
    used = []
    for _ in range(windows):
        used.append(tuner.threads)
        tuner.record_step(shares[tuner.threads] * tuner.threads * WINDOW_S, WINDOW_S)
    return used


def test_thread_tuner_uses_all_threads_on_a_quiet_machine() -> None:
    assert run(ThreadTuner(2), {1: 1.0, 2: 0.99}, 100) == [2] * 100


def test_thread_tuner_drops_a_thread_beside_busy_processes_and_takes_it_back_later() -> None:
    tuner = ThreadTuner(2)
    assert run(tuner, BESIDE, 50) == [2] + [1] * 49
    assert run(tuner, {1: 1.0, 2: 0.99}, 50) == [1] + [2] * 49


def test_thread_tuner_begins_with_the_processors_that_are_free_and_takes_the_others_once_they_are() -> None:
    for free, first in ((0, 1), (1, 1), (2, 2), (9, 2)):
        tuner = ThreadTuner(2)
        tuner.begin(free)
        assert run(tuner, {1: 1.0, 2: 0.99}, 5) == [first, 2, 2, 2, 2]


def test_thread_tuner_is_for_steps_whose_work_is_less_than_the_waiting_between_threads() -> None:
    demo, three_billion = 99_000_000, 3_000_000_000
    assert is_short(1, three_billion)
    assert is_short(15, three_billion)
    assert not is_short(64, three_billion)
    assert is_short(128, demo)


def test_thread_tuner_tries_a_thread_that_never_fits_ever_less_often() -> None:
    """One core is free and the other is not: the second thread looks as if it had room, and has none."""
    used = run(ThreadTuner(2, max_quiet_windows=8), {1: 1.0, 2: 0.6}, 200)
    tries = [at for at, threads in enumerate(used) if threads == 2]
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses)  # ever longer
    assert pauses[0] < pauses[-1] == pauses[-2] == 9  # up to the bound, so that a free core is found in the end


def test_thread_tuner_judges_short_steps_together() -> None:
    tuner = ThreadTuner(2)
    for _ in range(9):
        tuner.record_step(0.0, WINDOW_S / 10)
    assert tuner.threads == 2
    tuner.record_step(0.0, WINDOW_S / 5)
    assert tuner.threads == 1


@given(st.integers(1, 16), st.lists(st.floats(0, 1.2), max_size=200))
def test_thread_tuner_stays_between_one_thread_and_those_asked_for(most: int, shares: list[float]) -> None:
    tuner = ThreadTuner(most)
    for share in shares:
        assert 1 <= tuner.threads <= most
        tuner.record_step(share * tuner.threads * WINDOW_S, WINDOW_S)
