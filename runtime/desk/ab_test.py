"""Two policies, or two models, side by side: who gets which, what came of it, and one word to keep or drop the new one.

    <home>/experiment/experiment.json               what is tried, and who gets it
    <home>/experiment/policy.toml                   the candidate, where it is a policy

The other arm is the bundle's own policy, or the current generation. A share of the conversations gets the candidate, or
of the agents; a conversation keeps the arm of its first turn. Promises: outcomes are told with 95 % intervals, and
nothing is called better while they leave it open. Knows nothing of how a model is served.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import new_folder, read_text, write_atomic
from runtime.base.statistics import wilson_interval
from runtime.base.validation import first_problem
from runtime.bundle.generations import activate, current_bundle, installed_bundle
from runtime.desk.policy import Policy, read_policy
from runtime.errors import BusyError, InputError, MissingError
from runtime.journal.queries import TurnOutcome
from runtime.journal.turn_details import Arm

FOLDER = "experiment"
_FILE, _POLICY = "experiment.json", "policy.toml"
_Z = 1.96
ARMS: tuple[Arm, ...] = ("current", "candidate")


class AbTest(BaseModel):
    """`experiment.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    lang: str = Field(pattern=r"^([a-z]{2})?$")
    """The language it is for; empty = every one."""
    share: float = Field(gt=0, le=1)
    """Of conversations, or agents, that get the candidate."""
    by: Literal["conversation", "agent"] = "conversation"
    generation: int | None = Field(default=None, ge=1)
    """The installed generation whose model is tried; None = a policy is."""
    promoted: bool = False
    """Everybody gets the policy."""


@dataclass(frozen=True)
class Trial:
    """An experiment with its candidate."""

    experiment: AbTest
    policy: Policy | None
    """None where a model is tried."""

    def arm(self, lang: str, conversation: str, agent: str = "", kept: Arm | None = None) -> Arm | None:
        """The arm of a conversation; None in a language that is not tried. `kept` is that of its turns before."""
        if lang != (self.experiment.lang or lang):
            return None
        if self.experiment.promoted:
            return "candidate"
        if kept:
            return kept
        who = agent if self.experiment.by == "agent" else conversation
        place = hashlib.sha256(f"{self.experiment.name}/{who}".encode()).digest()[:8]
        return "candidate" if int.from_bytes(place, "big") < self.experiment.share * 2**64 else "current"


def start(home: Path, experiment: AbTest, policy: Path | None = None) -> None:
    """Begin with a policy, or with the experiment's generation.

    `BusyError` while another runs, `InputError` for a policy that is wrong or a generation that is current already,
    `MissingError` for one that is not installed.
    """
    if (home / FOLDER).exists():
        raise BusyError("an experiment is there already", where=str(home), hint="edgedesk experiment drop, or promote")
    if (policy is None) == (experiment.generation is None):
        raise InputError("one thing is tried at a time", hint="give --policy FILE, or --generation NUMBER")
    if policy:
        read_policy(policy)
    if experiment.generation and installed_bundle(home, experiment.generation).root == current_bundle(home).root:
        raise InputError(
            f"generation {experiment.generation} is everybody's already", hint="edgedesk rollback, then start"
        )
    with new_folder(home / FOLDER, private=True) as folder:
        if policy:
            shutil.copyfile(policy, folder / _POLICY)
        write_atomic(folder / _FILE, experiment.model_dump_json(indent=1) + "\n")


def read_trial(home: Path) -> Trial | None:
    """The experiment of a home, running or promoted."""
    path = home / FOLDER / _FILE
    if not path.is_file():
        return None
    try:
        experiment = AbTest.model_validate_json(read_text(path))
    except ValidationError as error:
        problem = first_problem(error, "key", AbTest)
        raise InputError(problem.sentence, where=str(path), hint="edgedesk experiment drop") from None
    return Trial(experiment, None if experiment.generation else read_policy(home / FOLDER / _POLICY))


def promote(home: Path) -> AbTest:
    """From the server's next start everybody gets the candidate: a policy until it is dropped, a model for good."""
    trial = _needed(home)
    if trial.experiment.generation:
        activate(home, trial.experiment.generation)
        return drop(home)
    now = trial.experiment.model_copy(update={"promoted": True})
    write_atomic(home / FOLDER / _FILE, now.model_dump_json(indent=1) + "\n")
    return now


def drop(home: Path) -> AbTest:
    """From the server's next start everybody gets the bundle's own policy, or the current model, again."""
    trial = _needed(home)
    shutil.rmtree(home / FOLDER)
    return trial.experiment


def compare(found: Sequence[TurnOutcome]) -> dict[str, Any]:
    """Figures by arm, the difference in accepted drafts with its interval, and which arm is better by it."""
    arms = {arm: _figures([one for one in found if one.arm == arm]) for arm in ARMS}
    new, old = arms["candidate"]["accepted"], arms["current"]["accepted"]
    if new is None or old is None:
        return {"arms": arms, "difference": None, "better": "undecided"}
    # Newcombe 1998, method 10: the difference of two Wilson intervals.
    gap = new["share"] - old["share"]
    low = gap - sqrt((new["share"] - new["low"]) ** 2 + (old["high"] - old["share"]) ** 2)
    high = gap + sqrt((new["high"] - new["share"]) ** 2 + (old["share"] - old["low"]) ** 2)
    better = "candidate" if low > 0 else "current" if high < 0 else "undecided"
    return {"arms": arms, "difference": [round(gap, 4), round(low, 4), round(high, 4)], "better": better}


def wilson(hits: int, trials: int) -> dict[str, float] | None:
    """A share with its 95 % interval (Wilson 1927); None of nothing."""
    if not trials:
        return None
    share = hits / trials
    low, high = wilson_interval(hits, trials)
    return {"share": round(share, 4), "low": round(low, 4), "high": round(high, 4)}


def _figures(rows: Sequence[TurnOutcome]) -> dict[str, Any]:
    judged = [one for one in rows if one.verdict]
    shares = {
        verdict: wilson(sum(one.verdict == verdict for one in judged), len(judged))
        for verdict in ("accepted", "edited", "rejected")
    }
    return {
        "conversations": len({one.conversation for one in rows}),
        "turns": len(rows),
        "judged": len(judged),
        **shares,
        "handed_off": wilson(sum(one.handoff is not None for one in rows), len(rows)),
        "rating": _mean(one.rating for one in rows),
        "seconds": _mean(one.seconds for one in rows),
    }


def _mean(values: Iterable[float | None]) -> dict[str, float] | None:
    given = [value for value in values if value is not None]
    if not given:
        return None
    half = _Z * stdev(given) / sqrt(len(given)) if len(given) > 1 else float("inf")
    mean = fmean(given)
    low, high = (mean - half, mean + half) if len(given) > 1 else (mean, mean)
    return {"count": len(given), "mean": round(mean, 3), "low": round(low, 3), "high": round(high, 3)}


def _needed(home: Path) -> Trial:
    trial = read_trial(home)
    if trial is None:
        raise MissingError(
            "no experiment is there", where=str(home), hint="edgedesk experiment start NAME --policy FILE"
        )
    return trial


def as_text(compared: dict[str, Any]) -> str:
    """The comparison for people to read."""
    lines = []
    for arm, row in compared["arms"].items():
        lines.append(f"{arm}: {row['conversations']} conversations, {row['turns']} turns, {row['judged']} judged")
        names = ("accepted", "edited", "rejected", "handed_off", "rating", "seconds")
        lines += [f"  {name:<11}{json.dumps(row[name])}" for name in names if row[name]]
    lines.append(f"accepted, candidate - current: {compared['difference']}; better: {compared['better']}")
    return "\n".join(lines)
