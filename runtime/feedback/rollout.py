"""Which branches get a release next: canary branches first, and a stop by itself when it does worse. Pure.

    release = "shop 2"                       # name and version of the bundle
    [[ring]]
    name = "canary"
    branches = ["Lisbon", "里斯本"]
    [[ring]]
    name = "everybody"
    branches = ["*"]                         # all that no earlier ring names

    wait      the ring has not asked enough questions yet, or branches of it have not exported since the update
    widen     the ring did well: the next one gets the release
    stop      the trial failed in a branch, a branch went back, or hand-offs or failures have risen: nobody else gets it
    done      every ring has it

Promises: a stop names its reason and figures; a rise counts as one only when its 95 % interval leaves out 0, so that
chance does not stop a roll-out; the same exports give the same decision. Knows nothing of how a release travels:
`edgedesk rollout --to` signs the branches of a decision into it, and branches keep to that list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from runtime.base.statistics import wilson_interval
from runtime.base.toml_file import read_toml
from runtime.base.validation import first_problem
from runtime.bundle.bundle import Label
from runtime.bundle.rings import EVERYBODY
from runtime.errors import InputError
from runtime.feedback.export_file import FeedbackExport, newest_turns


class RolloutRing(BaseModel):
    """Branches that get a release together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    branches: tuple[Label, ...] = Field(min_length=1)
    """Names as the setting `branch` has them; `*` in the last ring = all the others."""


class RolloutPlan(BaseModel):
    """A roll-out plan (TOML)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Label
    """`NAME VERSION` of the bundle."""
    min_turns: int = Field(default=200, ge=1)
    """Questions that a ring answers with the release before the next ring gets it."""
    max_hand_off_rise: float = Field(default=0.03, ge=0, le=1)
    """How much the share of hand-offs may rise above that of the same branches before."""
    max_failed_rise: float = Field(default=0.01, ge=0, le=1)
    """The same for answers that failed or were cut."""
    ring: tuple[RolloutRing, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_branch_once(self) -> RolloutPlan:
        names = [name for ring in self.ring for name in ring.branches]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"'{twice}' is in two rings, or twice in one")
        if EVERYBODY in names and self.ring[-1].branches != (EVERYBODY,):
            raise ValueError(f'"{EVERYBODY}" stands alone, in the last ring')
        if len(self.release.split(" ")) != 2:
            raise ValueError('release is the bundle\'s name and version, such as "shop 2"')
        return self

    @property
    def model_prefix(self) -> str:
        """How the model of a turn is called that this release answered."""
        return "-".join(self.release.split(" ")) + "/"


@dataclass(frozen=True)
class OutcomeCounts:
    """Turns that a model answered, and what went wrong with them."""

    turns: int = 0
    handed_off: int = 0
    failed: int = 0

    def __add__(self, other: OutcomeCounts) -> OutcomeCounts:
        return OutcomeCounts(self.turns + other.turns, self.handed_off + other.handed_off, self.failed + other.failed)


@dataclass(frozen=True)
class BranchEvidence:
    """What a branch's exports say of a release."""

    running: str
    """`NAME VERSION` of its last export."""
    with_release: OutcomeCounts
    before: OutcomeCounts
    """Answered by any other release."""
    trial_failed: bool = False
    """Whether the branch tried the release out and left it by itself."""


@dataclass(frozen=True)
class RolloutDecision:
    """What to do, and why."""

    action: Literal["wait", "widen", "stop", "done"]
    ring: str
    """The widest ring that has the release."""
    branches: tuple[str, ...]
    """Those that may have the release from now on; `*` is everybody. After a stop: none."""
    reasons: tuple[str, ...]


def read_plan(path: Path) -> RolloutPlan:
    """Read a plan; `InputError` naming the key that is wrong."""
    try:
        return RolloutPlan.model_validate(read_toml(path, hint="see docs/how-to/feedback.md"))
    except ValidationError as error:
        problem = first_problem(error, "key", RolloutPlan)
        raise InputError(
            problem.sentence, where=str(path), hint=problem.hint or "see docs/how-to/feedback.md"
        ) from None


def gather_evidence(plan: RolloutPlan, exports: Iterable[FeedbackExport]) -> dict[str, BranchEvidence]:
    """What the exports of each branch say of the plan's release."""
    by_branch: dict[str, list[FeedbackExport]] = {}
    for export in exports:
        by_branch.setdefault(export.header.branch, []).append(export)
    out = {}
    for name, own in by_branch.items():
        newest = max(own, key=lambda export: export.header.exported).header
        counts = {True: OutcomeCounts(), False: OutcomeCounts()}
        for row in newest_turns(own).values():
            ours = row.model.startswith(plan.model_prefix)
            counts[ours] += OutcomeCounts(1, row.handoff is not None, row.state in ("failed", "partial"))
        running = f"{newest.bundle} {newest.version}"
        # A branch that runs the release has tried it again since, because a person wanted it.
        failed = plan.release in newest.refused and running != plan.release
        out[name] = BranchEvidence(running, counts[True], counts[False], failed)
    return out


def decide_rollout(plan: RolloutPlan, branches: Mapping[str, BranchEvidence]) -> RolloutDecision:
    """The next step of a roll-out, from what all branches exported."""
    reached, problems = 0, []
    for place, ring in enumerate(plan.ring):
        members = _members(plan, place, branches)
        known = [branches[name] for name in members if name in branches]
        if place and not any(one.with_release.turns or one.trial_failed for one in known):
            break  # nobody of it has it yet
        reached = place
        problems += _problems(plan, ring, known, members, branches)
    now = plan.ring[reached]
    if problems:
        return RolloutDecision("stop", now.name, (), tuple(problems))
    allowed = _names(plan.ring[: reached + 1])
    members = _members(plan, reached, branches)
    silent = [name for name in members if name not in branches or branches[name].running != plan.release]
    turns = sum((branches[name].with_release for name in members if name in branches), OutcomeCounts()).turns
    waits = [f"{name} has not exported with {plan.release} yet" for name in silent[:10]]
    if turns < plan.min_turns:
        waits.append(f"{now.name}: {turns} of {plan.min_turns} questions answered with {plan.release}")
    if waits:
        return RolloutDecision("wait", now.name, allowed, tuple(waits))
    if reached + 1 == len(plan.ring):
        return RolloutDecision("done", now.name, allowed, ())
    wider = plan.ring[reached + 1]
    why = f"{now.name} answered {turns} questions with {plan.release}: {wider.name} may have it"
    return RolloutDecision("widen", now.name, _names(plan.ring[: reached + 2]), (why,))


def _problems(
    plan: RolloutPlan,
    ring: RolloutRing,
    evidence: Sequence[BranchEvidence],
    members: Sequence[str],
    branches: Mapping[str, BranchEvidence],
) -> list[str]:
    gone_back = [
        name
        for name in members
        if name in branches and branches[name].with_release.turns and branches[name].running != plan.release
    ]
    failed = [name for name in members if name in branches and branches[name].trial_failed]
    problems = [f"{plan.release} failed its trial in {name}" for name in failed]
    problems += [f"{name} has gone back to {branches[name].running}" for name in gone_back if name not in failed]
    after = sum((one.with_release for one in evidence), OutcomeCounts())
    before = sum((one.before for one in evidence), OutcomeCounts())
    bounds = (("hand-offs", "handed_off", plan.max_hand_off_rise), ("failures", "failed", plan.max_failed_rise))
    for word, field, bound in bounds:
        if not (after.turns and before.turns):
            continue
        now, then = getattr(after, field), getattr(before, field)
        rise = now / after.turns - then / before.turns
        if rise > bound and _certainly_rose(now, after.turns, then, before.turns):
            problems.append(
                f"{ring.name}: {word} rose from {then / before.turns:.1%} of {before.turns}"
                f" to {now / after.turns:.1%} of {after.turns} questions (bound {bound:.1%})"
            )
    return problems


def _certainly_rose(now: int, turns: int, then: int, turns_before: int) -> bool:
    """Whether the 95 % interval of the difference lies above 0 (Newcombe 1998, method 10)."""
    low, _ = wilson_interval(now, turns)
    _, high = wilson_interval(then, turns_before)
    share, share_before = now / turns, then / turns_before
    return share - share_before > hypot(share - low, high - share_before)


def _members(plan: RolloutPlan, place: int, branches: Iterable[str]) -> list[str]:
    ring = plan.ring[place]
    if ring.branches != (EVERYBODY,):
        return list(ring.branches)
    named = {name for earlier in plan.ring[:place] for name in earlier.branches}
    return sorted(name for name in branches if name not in named)


def _names(rings: Sequence[RolloutRing]) -> tuple[str, ...]:
    return tuple(name for ring in rings for name in ring.branches)
