"""The planner alone: who is in the next batch, how much is read, how long the line takes."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.batch_planner import (
    BACKGROUND_STEP_S,
    GAP_FACTORS,
    MAX_SKIPPED_STEPS,
    MIN_READ_ALONE,
    MIN_READ_BACKGROUND,
    MIN_READ_TOKENS,
    ROW_TILE,
    STEP_S,
    Job,
    StepCosts,
    plan_step,
    predict_waits,
)
from runtime.engine.core.options import Preference

BATCH = 32

jobs = st.lists(
    st.builds(
        Job,
        id=st.just(0),
        unread=st.integers(0, 200),
        guesses=st.integers(0, 12),
        background=st.booleans(),
        speculative=st.booleans(),
        skipped=st.integers(0, 20),
    ),
    max_size=12,
).map(
    lambda found: [
        # Whatever is speculative is in the background too, and of what is there only that ever writes.
        replace(
            job,
            id=number,
            background=job.background and (job.unread > 0 or job.speculative),
            speculative=job.background and job.speculative,
        )
        for number, job in enumerate(found)
    ]
)


@given(jobs, st.integers(1, 64))
def test_plan_step_keeps_its_budget_and_holds_every_writer(found: list[Job], read_tokens: int) -> None:
    plan = plan_step(found, read_tokens=read_tokens, batch_tokens=BATCH)
    by_id = {job.id: job for job in found}
    chosen = [by_id[one.id] for one in plan]
    assert bool(plan) == bool(found)
    assert len(chosen) == len({job.id for job in chosen})
    assert sum(one.count for one in plan) <= BATCH
    read = sum(one.count for one in plan if by_id[one.id].unread)
    assert read <= read_tokens
    for one in plan:
        job = by_id[one.id]
        assert 1 <= one.count <= (job.unread or 1 + job.guesses)
        assert not (job.background and any(other.unread and not other.background for other in chosen))
        # One that waits is never held up by what nobody has asked for.
        assert not (job.speculative and any(not other.background for other in found))
    if chosen:
        writers = {job.id for job in found if not job.unread and not job.speculative}
        assert writers <= {job.id for job in chosen}


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 30)), min_size=1, max_size=25),
    st.integers(1, 6),
    st.integers(1, 40),
)
def test_plan_step_starves_no_request(requests: list[tuple[int, int]], slots: int, read_tokens: int) -> None:
    """Requests take the slots in turn, as soon as one is free, so that shorter ones come on and on."""
    line = [[Job(number, unread), write] for number, (unread, write) in enumerate(requests)]
    work: list[list] = []
    steps = 0
    while line or work:
        work += [line.pop(0) for _ in range(min(slots - len(work), len(line)))]
        plan = {
            one.id: one.count
            for one in plan_step([job for job, _ in work], read_tokens=read_tokens, batch_tokens=BATCH)
        }
        assert plan
        for entry in work:
            job, write = entry
            if count := plan.get(job.id):
                entry[1] = write - (not job.unread)
                entry[0] = replace(job, unread=max(0, job.unread - count), skipped=0)
            else:
                entry[0] = replace(job, skipped=job.skipped + 1)
                assert entry[0].skipped <= MAX_SKIPPED_STEPS + 2 * slots
        work = [entry for entry in work if entry[1] > 0]
        steps += 1
    assert steps <= sum(unread + write for unread, write in requests)


def test_plan_step_reads_the_shortest_prompt_first() -> None:
    plan = plan_step([Job(0, 500), Job(1, 10)], read_tokens=BATCH, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(1, 10), (0, 22)]
    plan = plan_step([Job(0, 500, skipped=MAX_SKIPPED_STEPS), Job(1, 10)], read_tokens=BATCH, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(0, BATCH)]


def test_plan_step_checks_no_guesses_while_a_reader_waits() -> None:
    plan = plan_step([Job(0, 0, guesses=5), Job(1, 3)], read_tokens=4, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(0, 1), (1, 3)]
    plan = plan_step([Job(0, 0, guesses=5), Job(1, 3, background=True)], read_tokens=4, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(0, 6), (1, 3)]


@given(st.integers(0, 4), st.integers(1, 300), st.integers(1, 130))
def test_plan_step_fills_tiles_unless_it_ends_a_prompt(writers: int, left: int, read_tokens: int) -> None:
    found = [*(Job(number, 0) for number in range(writers)), Job(9, left)]
    plan = plan_step(found, read_tokens=read_tokens, batch_tokens=128)
    rows, read = sum(one.count for one in plan), sum(one.count for one in plan if one.id == 9)
    assert 1 <= read <= min(left, read_tokens)
    assert read == min(left, read_tokens, 128 - writers) or (rows % ROW_TILE == 0 and read > read_tokens - ROW_TILE)


@pytest.mark.parametrize("prefer", get_args(Preference))
def test_step_costs_bound_the_gap_between_a_writers_tokens(prefer: Preference) -> None:
    costs, factor = StepCosts(128, prefer), GAP_FACTORS[prefer]
    assert costs.read_tokens(writing=True) == MIN_READ_TOKENS
    for _ in range(40):
        costs.record_step(guesses=0, reading=0, seconds=0.06)
        costs.record_step(guesses=0, reading=10, seconds=0.06 + 10 * 0.01)
    count = costs.read_tokens(writing=True)
    assert 0.06 + count * 0.01 <= factor * 0.06 + 1e-9
    assert 0.06 + (count + 1) * 0.01 > factor * 0.06 - 1e-9
    assert costs.read_tokens(writing=False) == int(STEP_S / 0.01)
    assert costs.read_tokens(writing=False, waited_for=False) == int(BACKGROUND_STEP_S / 0.01)
    for _ in range(40):
        costs.record_step(guesses=0, reading=4, seconds=0.06 + 4 * 1.0)  # the machine has become slow
    assert costs.read_tokens(writing=True) == MIN_READ_TOKENS


@given(st.lists(st.floats(0, 100), max_size=4), st.floats(0.1, 50), st.integers(0, 20))
def test_predict_waits_is_a_queue_before_so_many_counters(left_s: list[float], answer_s: float, waiting: int) -> None:
    waits = predict_waits(left_s, 4, answer_s, waiting)
    assert waits == sorted(waits)
    free = 4 - len(left_s)
    assert all(wait == 0 for wait in waits[:free])
    if waiting > free:
        assert waits[free] == min([*left_s, *[answer_s] * free])


def test_step_costs_do_not_shrink_slices_for_the_pass_over_the_weights() -> None:
    """A pass takes 0.1 s, a token of reading 0.02 s more: a question of forty tokens is read in one step."""
    costs = StepCosts(128)
    for waited_for, least in ((True, MIN_READ_ALONE), (False, MIN_READ_BACKGROUND)):
        for _ in range(40):
            count = costs.read_tokens(writing=False, waited_for=waited_for)
            costs.record_step(guesses=0, reading=count, seconds=0.1 + 0.02 * count)
            assert count >= least
