"""Crashes are counted by what was in work, and a question that always was is pointed out."""

from __future__ import annotations

from runtime.engine.core.crash_report import REFUSED_AFTER, REFUSED_S, CrashCounter, CrashReport


def test_crashes_are_counted_by_kind_of_work_and_reset_together() -> None:
    counter = CrashCounter()
    for kind in ("generate", "load", "load", "prefetch", "compile", "idle"):
        counter.record(kind)
    assert counter.report() == CrashReport(generate=1, prefetch=1, compile=1, load=2, idle=1)
    assert counter.report().total == 6
    counter.reset(answered=0)
    assert counter.report() == CrashReport()


def test_prompt_that_was_in_work_at_several_crashes_is_refused_for_a_while_and_others_are_not() -> None:
    now = 0.0
    counter = CrashCounter(lambda: now)
    for _ in range(REFUSED_AFTER):
        assert not counter.refuses(1)
        counter.record("generate", frozenset({1}))
        counter.record("prefetch", frozenset({3}))
        counter.reset(answered=2)  # whole answers to others prove nothing for this one
    assert [counter.refuses(prompt) for prompt in (1, 2, 3)] == [True, False, True]
    now += REFUSED_S
    assert not counter.refuses(1)  # tried once more
    counter.record("generate", frozenset({1}))
    assert counter.refuses(1)
    counter.reset(answered=1)
    assert not counter.refuses(1)


def test_prompts_whose_crashes_are_remembered_are_bounded_in_number() -> None:
    counter = CrashCounter()
    for prompt in (*range(5000), *range(5000)):
        counter.record("generate", frozenset({prompt}))
    assert sum(map(counter.refuses, range(5000))) < 1100
