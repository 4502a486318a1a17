"""Steps between a raw conversation and a record: pure functions, each of which says what stays and why the rest goes.

A step sees one item and knows no file, clock or neighbour, so that any engine may run it on any row in any process. A
step that must see all items (duplicates, balancing) is a `WholeStep`. Promises: what a step drops is counted
under the step's name and the reason it gives, and every dropped item can be found again by its place. Knows nothing of
what steps do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Dropped:
    """What does not go on, and why."""

    reason: str
    """A few words that are counted: no number and no customer's text in them."""
    where: str = ""
    """The item's id, or the `file:line` it came from."""
    detail: str = ""
    """What a person needs to judge it, such as the id of the duplicate's twin; never counted."""


@dataclass(frozen=True)
class Step(Generic[Item]):
    """A row-wise step: `run(item)` is the item as it goes on (changed or not), or why it goes."""

    name: str
    run: Callable[[Item], Item | Dropped]


@dataclass(frozen=True)
class WholeStep(Generic[Item]):
    """A step over all items at once: `run(items)` is those that stay, in their order, and the rest with reasons."""

    name: str
    run: Callable[[Sequence[Item]], tuple[Sequence[Item], Sequence[Dropped]]]


@dataclass
class StepCounts:
    """What each step saw, and what it dropped for which reason: seen = kept + dropped, for every step."""

    seen: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)

    def drop(self, step: str, dropped: Dropped) -> None:
        """Count one item that went."""
        self.dropped.setdefault(step, Counter())[dropped.reason] += 1

    def add(self, other: StepCounts) -> None:
        """Add the counts of another worker."""
        self.seen.update(other.seen)
        for step, reasons in other.dropped.items():
            self.dropped.setdefault(step, Counter()).update(reasons)


def run_steps(item: Item, steps: Iterable[Step[Item]], counts: StepCounts) -> Item | tuple[str, Dropped]:
    """One item through row-wise steps: the item at their end, or the step's name and why it went there."""
    for step in steps:
        counts.seen[step.name] += 1
        outcome = step.run(item)
        if isinstance(outcome, Dropped):
            counts.drop(step.name, outcome)
            return step.name, outcome
        item = outcome
    return item


def run_whole(
    items: Sequence[Item], steps: Iterable[WholeStep[Item]], counts: StepCounts
) -> tuple[Sequence[Item], list[tuple[str, Dropped]]]:
    """All items through steps over the whole: what stays, and what went with the name of its step."""
    gone: list[tuple[str, Dropped]] = []
    for step in steps:
        counts.seen[step.name] += len(items)
        items, dropped = step.run(items)
        for each in dropped:
            counts.drop(step.name, each)
        gone += [(step.name, each) for each in dropped]
    return items, gone
