"""Steps: what goes is counted under its step and reason, and nothing is counted twice or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from distill.data.steps import Dropped, Step, StepCounts, WholeStep, run_steps, run_whole

SHORTEN = Step[str]("shorten", lambda text: text[:5])
NOT_EMPTY = Step[str]("empty", lambda text: text if text.strip() else Dropped("no text", where="row 1"))


def test_step_passes_a_changed_item_to_the_next() -> None:
    counts = StepCounts()
    assert run_steps("longer than five", [NOT_EMPTY, SHORTEN], counts) == "longe"
    assert dict(counts.seen) == {"empty": 1, "shorten": 1}
    assert counts.dropped == {}


def test_step_that_drops_an_item_ends_its_way_and_is_counted_by_reason() -> None:
    counts = StepCounts()
    assert run_steps(" ", [NOT_EMPTY, SHORTEN], counts) == ("empty", Dropped("no text", where="row 1"))
    run_steps("  ", [NOT_EMPTY], counts)
    assert dict(counts.seen) == {"empty": 2}
    assert {name: dict(reasons) for name, reasons in counts.dropped.items()} == {"empty": {"no text": 2}}


def test_step_over_all_items_sees_what_earlier_ones_kept() -> None:
    def unique(items: Sequence[str]) -> tuple[Sequence[str], Sequence[Dropped]]:
        first = list(dict.fromkeys(items))
        return first, [Dropped("exact duplicate")] * (len(items) - len(first))

    counts = StepCounts()
    stays, gone = run_whole(["a", "b", "a"], [WholeStep("duplicates", unique), WholeStep("again", unique)], counts)
    assert (stays, gone) == (["a", "b"], [("duplicates", Dropped("exact duplicate"))])
    assert dict(counts.seen) == {"duplicates": 3, "again": 2}


def test_step_counts_of_workers_add_up() -> None:
    one, two = StepCounts(), StepCounts()
    run_steps("", [NOT_EMPTY], one)
    run_steps("", [NOT_EMPTY], two)
    one.add(two)
    assert (one.seen["empty"], one.dropped["empty"]["no text"]) == (2, 2)
