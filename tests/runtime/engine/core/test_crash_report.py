"""Crashes are counted by what was in work, and a question that always was is pointed out."""

from __future__ import annotations

from runtime.engine.core.crash_report import CrashCounter, CrashReport


def test_crashes_are_counted_by_kind_of_work_and_reset_together() -> None:
    counter = CrashCounter()
    for kind in ("generate", "load", "load", "prefetch", "compile", "idle"):
        counter.record(kind)
    assert counter.report() == CrashReport(generate=1, prefetch=1, compile=1, load=2, idle=1)
    assert counter.report().total == 6
    counter.reset()
    assert counter.report() == CrashReport()


def test_crash_report_names_a_prompt_that_was_in_work_at_every_crash() -> None:
    counter = CrashCounter()
    counter.record("generate", frozenset({1, 2}))
    assert not counter.report().repeated_prompt  # one crash convicts nobody
    counter.record("idle")
    counter.record("generate", frozenset({2, 3}))
    assert counter.report().repeated_prompt
    counter.record("generate", frozenset({3}))
    assert not counter.report().repeated_prompt  # no prompt was in work at all three
