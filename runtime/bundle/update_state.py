"""The steps of an update as a pure state machine: what to do next after each event, wherever the last run was cut off.

    idle ──offered──▶ stage ──staged──▶ trial ──probed well──▶ idle, the new generation stays
                                          └────probed badly──▶ returning ──returned──▶ idle, its content is refused

`decide` is called with the state on disk and what happened; the shell (`updater`) writes the new state first and then
carries the actions out. So after a kill the state is never behind what was done, and `Started` picks up from it: a
trial is run again (once), a return is completed. `decide` knows no files, clocks or models.

    EDGEDESK_HOME/update.json    the state, where it is not idle with nothing refused
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.base.files import read_text, write_atomic
from runtime.errors import EdgedeskError

FILE_NAME = "update.json"
MOST_TRIALS = 2
"""Of one generation: a trial that was cut off twice may be what took the machine down."""
MOST_REFUSALS = 32
"""Kept; a company that releases as many bad ones has other cares than the first of them."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RefusedContent(_Model):
    """A content that was tried and given up."""

    content: str
    """Digest of the files, whatever the release is called."""
    release: int
    why: str
    title: str = ""
    """Name and version of the bundle; head office's roll-out stops for it."""


class UpdateState(_Model):
    """`update.json`: where an update stands."""

    phase: Literal["idle", "trial", "returning"] = "idle"
    generation: int | None = None
    """On trial, or being left."""
    previous: int | None = None
    """What was current before; None at the first installation."""
    content: str = ""
    release: int = 0
    title: str = ""
    """Name and version of the bundle on trial."""
    trials: int = 0
    """Begun of this generation."""
    refused: tuple[RefusedContent, ...] = ()


def read_state(home: Path) -> UpdateState:
    """Where an update stands; idle where the file is missing or damaged: then nothing is known to be on trial."""
    try:
        return UpdateState.model_validate_json(read_text(home / FILE_NAME))
    except (EdgedeskError, ValidationError):
        return UpdateState()


def write_state(home: Path, state: UpdateState) -> None:
    """Write the state whole, on disk when this returns."""
    write_atomic(home / FILE_NAME, state.model_dump_json(indent=1) + "\n", mode=0o600)


def refused_titles(home: Path) -> tuple[str, ...]:
    """Name and version of the bundles that have failed their trial here, the newest last."""
    return tuple(dict.fromkeys(one.title for one in read_state(home).refused if one.title))


def trial_runs(home: Path) -> bool:
    """Whether the current generation is still being tried out, or left."""
    return read_state(home).phase != "idle"


@dataclass(frozen=True)
class Started:
    """An updater has begun; `current` is the generation that `current` leads to."""

    current: int | None


@dataclass(frozen=True)
class Offered:
    """A release whose metadata is believed."""

    content: str
    release: int
    current_content: str
    """Of the current generation; empty without one."""
    again: bool = False
    """Whether a person asked to try what was refused."""
    held_back: str = ""
    """Why the release's model is not for this branch yet, empty when it is. `content` then is what the branch may
    have: the model it runs, with the articles of the release."""


@dataclass(frozen=True)
class Staged:
    """A whole, checked generation lies beside the current one."""

    generation: int
    current: int | None
    content: str
    release: int
    title: str = ""
    """Name and version of its bundle."""


@dataclass(frozen=True)
class Probed:
    """The trial has ended; `why` is empty when it went well."""

    why: str = ""


@dataclass(frozen=True)
class Postponed:
    """The trial could not be held now, for no fault of the generation: no memory beside the running server."""


@dataclass(frozen=True)
class Returned:
    """The generation before is current again."""


@dataclass(frozen=True)
class Cleaned:
    """What was left is deleted."""


Event = Started | Offered | Staged | Probed | Postponed | Returned | Cleaned


@dataclass(frozen=True)
class StageRelease:
    """Copy what is missing and make a generation of it."""


@dataclass(frozen=True)
class Switch:
    """Make a generation current."""

    generation: int


@dataclass(frozen=True)
class TryOut:
    """Hold the trial of the current generation."""

    generation: int


@dataclass(frozen=True)
class CleanUp:
    """Delete generations beyond what is kept, and `drop` in any case."""

    drop: int | None = None


Outcome = Literal["up_to_date", "updated", "not_yet", "refused", "returned", "postponed"]


@dataclass(frozen=True)
class Finish:
    """Nothing is left to do."""

    outcome: Outcome
    why: str = ""


Action = StageRelease | Switch | TryOut | CleanUp | Finish


def decide(state: UpdateState, event: Event) -> tuple[UpdateState, tuple[Action, ...]]:
    """The next state, to be written before the actions are carried out in their order.

    In the phase `returning` a `Switch` is answered with `Returned` and a `CleanUp` with `Cleaned`; in any phase a
    `StageRelease` is answered with `Staged`, a `TryOut` with `Probed` or `Postponed`.
    """
    match event:
        case Started(current):
            return _resume(state, current)
        case Offered(content, _, current_content, again, held_back):
            refusal = next((one for one in state.refused if one.content == content), None)
            if content == current_content:
                return state, (Finish("not_yet", held_back) if held_back else Finish("up_to_date"),)
            if refusal and not again:
                return state, (Finish("refused", refusal.why),)
            return state, (StageRelease(),)
        case Staged(generation, current, content, release, title):
            trial = UpdateState(
                phase="trial",
                generation=generation,
                previous=current if current != generation else None,
                content=content,
                release=release,
                title=title,
                trials=1,
                refused=tuple(one for one in state.refused if one.content != content),
            )
            return trial, (Switch(generation), TryOut(generation))
        case Probed(""):
            return _idle(state), (CleanUp(), Finish("updated"))
        case Probed(why):
            return _leave(state, why)
        case Postponed():
            # Without a refusal: the next run tries it again. What answered before goes on answering.
            if state.previous is None:
                return _idle(state), (Finish("updated", "it could not be tried out"),)
            return _idle(state), (Switch(state.previous), Finish("postponed"))
        case Returned():
            # Idle only once it is gone: after a power cut in between nothing would remember to delete it.
            return state, (CleanUp(drop=state.generation),)
        case Cleaned():
            return _idle(state), (Finish("returned", state.refused[-1].why if state.refused else ""),)


def _resume(state: UpdateState, current: int | None) -> tuple[UpdateState, tuple[Action, ...]]:
    if state.phase == "idle" or state.generation is None:
        return state, ()
    if state.phase == "returning" and state.previous is not None:
        return state, (Switch(state.previous),)
    if current not in (state.generation, state.previous):
        return _idle(state), ()  # a person has installed something else meanwhile
    if state.trials >= MOST_TRIALS:
        return _leave(state, f"its trial was cut off {state.trials} times")
    again = state.model_copy(update={"trials": state.trials + 1})
    return again, (Switch(state.generation), TryOut(state.generation))


def _leave(state: UpdateState, why: str) -> tuple[UpdateState, tuple[Action, ...]]:
    refusal = RefusedContent(content=state.content, release=state.release, why=why, title=state.title)
    refused = (*(one for one in state.refused if one.content != state.content), refusal)[-MOST_REFUSALS:]
    if state.previous is None:
        # Nothing answered before it: a bad generation is better than none, and a person is told.
        return _idle(state), (Finish("returned", why),)
    left = state.model_copy(update={"phase": "returning", "refused": refused})
    return left, (Switch(state.previous),)


def _idle(state: UpdateState) -> UpdateState:
    return UpdateState(refused=state.refused)
