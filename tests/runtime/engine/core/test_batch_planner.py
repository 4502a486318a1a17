"""The planner alone: who is in the next batch, how much is read, how long the line takes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.batch_planner import (
    BACKGROUND_STEP_S,
    GAP_FACTOR,
    LEAST_ALONE,
    LEAST_BACKGROUND,
    LEAST_SLICE,
    PATIENCE,
    ROWS,
    STEP_S,
    Job,
    Pace,
    plan_step,
    predict_waits,
)

BATCH = 32

jobs = st.lists(
    st.builds(
        Job,
        id=st.just(0),
        left=st.integers(0, 200),
        guesses=st.integers(0, 12),
        ahead=st.booleans(),
        passed=st.integers(0, 20),
        adapter=st.sampled_from(["", "", "a"]),
    ),
    max_size=12,
).map(lambda found: [replace(job, id=number, ahead=job.ahead and job.left > 0) for number, job in enumerate(found)])


@given(jobs, st.integers(1, 64))
def test_a_batch_keeps_its_budget_and_holds_every_writer_of_its_adapter(found: list[Job], read_tokens: int) -> None:
    plan = plan_step(found, read_tokens=read_tokens, batch_tokens=BATCH)
    by_id = {job.id: job for job in found}
    chosen = [by_id[one.id] for one in plan]
    assert bool(plan) == bool(found)
    assert len(chosen) == len({job.id for job in chosen})
    assert sum(one.count for one in plan) <= BATCH
    assert len({job.adapter for job in chosen}) <= 1
    read = sum(one.count for one in plan if by_id[one.id].left)
    assert read <= read_tokens
    for one in plan:
        job = by_id[one.id]
        assert 1 <= one.count <= (job.left or 1 + job.guesses)
        assert not (job.ahead and any(other.left and not other.ahead for other in chosen))
    if chosen:
        mine = {job.id for job in found if not job.left and job.adapter == chosen[0].adapter}
        assert mine <= {job.id for job in chosen}


@given(
    st.lists(
        st.tuples(st.integers(1, 300), st.integers(1, 30), st.sampled_from(["", "a", "b"])), min_size=1, max_size=25
    ),
    st.integers(1, 6),
    st.integers(1, 40),
)
def test_nobody_is_starved_by_what_comes_later(
    requests: list[tuple[int, int, str]], slots: int, read_tokens: int
) -> None:
    """Requests take the slots in turn, as soon as one is free, so that shorter ones come on and on."""
    line = [[Job(number, left, adapter=adapter), write] for number, (left, write, adapter) in enumerate(requests)]
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
                entry[1] = write - (not job.left)
                entry[0] = replace(job, left=max(0, job.left - count), passed=0)
            else:
                entry[0] = replace(job, passed=job.passed + 1)
                assert entry[0].passed <= PATIENCE + 2 * slots
        work = [entry for entry in work if entry[1] > 0]
        steps += 1
    assert steps <= sum(left + write for left, write, _ in requests)


def test_the_shortest_prompt_is_read_first_and_the_long_one_goes_on_with_what_is_left_over() -> None:
    plan = plan_step([Job(0, 500), Job(1, 10)], read_tokens=BATCH, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(1, 10), (0, 22)]
    plan = plan_step([Job(0, 500, passed=PATIENCE), Job(1, 10)], read_tokens=BATCH, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(0, BATCH)]


def test_guesses_wait_while_something_is_read_for_somebody() -> None:
    plan = plan_step([Job(0, 0, guesses=5), Job(1, 3)], read_tokens=4, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(0, 1), (1, 3)]
    plan = plan_step([Job(0, 0, guesses=5), Job(1, 3, ahead=True)], read_tokens=4, batch_tokens=BATCH)
    assert [(one.id, one.count) for one in plan] == [(0, 6), (1, 3)]


@given(st.integers(0, 4), st.integers(1, 300), st.integers(1, 130))
def test_a_batch_has_whole_sixteens_of_rows_unless_it_ends_a_prompt(writers: int, left: int, read_tokens: int) -> None:
    found = [*(Job(number, 0) for number in range(writers)), Job(9, left)]
    plan = plan_step(found, read_tokens=read_tokens, batch_tokens=128)
    rows, read = sum(one.count for one in plan), sum(one.count for one in plan if one.id == 9)
    assert 1 <= read <= min(left, read_tokens)
    assert read == min(left, read_tokens, 128 - writers) or (rows % ROWS == 0 and read > read_tokens - ROWS)


def test_the_slice_beside_a_writer_is_what_keeps_the_gap_within_its_bound() -> None:
    pace = Pace(128)
    assert pace.read_tokens(writing=True) == LEAST_SLICE
    for _ in range(40):
        pace.stepped(guesses=0, reading=0, seconds=0.06)
        pace.stepped(guesses=0, reading=10, seconds=0.06 + 10 * 0.01)
    count = pace.read_tokens(writing=True)
    assert 0.06 + count * 0.01 <= GAP_FACTOR * 0.06 + 1e-9
    assert 0.06 + (count + 1) * 0.01 > GAP_FACTOR * 0.06 - 1e-9
    assert pace.read_tokens(writing=False) == int(STEP_S / 0.01)
    assert pace.read_tokens(writing=False, waited_for=False) == int(BACKGROUND_STEP_S / 0.01)
    for _ in range(40):
        pace.stepped(guesses=0, reading=4, seconds=0.06 + 4 * 1.0)  # the machine has become slow
    assert pace.read_tokens(writing=True) == LEAST_SLICE


@given(st.lists(st.floats(0, 100), max_size=4), st.floats(0.1, 50), st.integers(0, 20))
def test_predicted_waits_are_those_of_a_line_before_so_many_counters(
    left_s: list[float], answer_s: float, waiting: int
) -> None:
    waits = predict_waits(left_s, 4, answer_s, waiting)
    assert waits == sorted(waits)
    free = 4 - len(left_s)
    assert all(wait == 0 for wait in waits[:free])
    if waiting > free:
        assert waits[free] == min([*left_s, *[answer_s] * free])


def test_slices_do_not_shrink_because_each_pays_for_a_pass_over_the_weights() -> None:
    """A pass takes 0.1 s, a token of reading 0.02 s more: a question of forty tokens is read in one step."""
    pace = Pace(128)
    for waited_for, least in ((True, LEAST_ALONE), (False, LEAST_BACKGROUND)):
        for _ in range(40):
            count = pace.read_tokens(writing=False, waited_for=waited_for)
            pace.stepped(guesses=0, reading=count, seconds=0.1 + 0.02 * count)
            assert count >= least
