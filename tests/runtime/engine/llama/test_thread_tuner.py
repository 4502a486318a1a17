"""How many threads compute beside other processes: decided from what steps had of the processors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.llama.thread_tuner import LONGEST_CALM, WINDOW_S, ThreadTuner

BESIDE = {1: 0.68, 2: 0.47}
"""Share of the time on a processor beside two busy processes on two cores, by threads (as measured)."""


def run(crowd: ThreadTuner, shares: dict[int, float], windows: int) -> list[int]:
    """Threads of each window."""
    used = []
    for _ in range(windows):
        used.append(crowd.threads)
        crowd.stepped(shares[crowd.threads] * crowd.threads * WINDOW_S, WINDOW_S)
    return used


def test_alone_all_threads_compute() -> None:
    assert run(ThreadTuner(2), {1: 1.0, 2: 0.99}, 100) == [2] * 100


def test_beside_busy_processes_one_thread_does_and_all_of_them_again_when_they_have_gone() -> None:
    crowd = ThreadTuner(2)
    assert run(crowd, BESIDE, 50) == [2] + [1] * 49
    assert run(crowd, {1: 1.0, 2: 0.99}, 50) == [1] + [2] * 49


def test_where_a_second_thread_never_has_room_it_is_tried_ever_less_often() -> None:
    """One core is free and the other is not: the second thread looks as if it had room, and has none."""
    used = run(ThreadTuner(2), {1: 1.0, 2: 0.6}, 1000)
    tries = [at for at, threads in enumerate(used) if threads == 2]
    assert len(tries) < 30
    assert tries[-1] - tries[-2] == LONGEST_CALM + 1


def test_short_steps_are_judged_together() -> None:
    crowd = ThreadTuner(2)
    for _ in range(9):
        crowd.stepped(0.0, WINDOW_S / 10)
    assert crowd.threads == 2
    crowd.stepped(0.0, WINDOW_S / 5)
    assert crowd.threads == 1


@given(st.integers(1, 16), st.lists(st.floats(0, 1.2), max_size=200))
def test_there_is_always_a_thread_and_never_one_more_than_asked_for(most: int, shares: list[float]) -> None:
    crowd = ThreadTuner(most)
    for share in shares:
        assert 1 <= crowd.threads <= most
        crowd.stepped(share * crowd.threads * WINDOW_S, WINDOW_S)
