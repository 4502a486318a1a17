"""The steps of an update, whatever happens in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle.update_state import (
    Cleaned,
    CleanUp,
    Finish,
    Offered,
    Postponed,
    Probed,
    RefusedContent,
    Returned,
    Staged,
    StageRelease,
    Started,
    Switch,
    TryOut,
    UpdateState,
    decide,
    read_state,
    refused_titles,
    write_state,
)

IDLE = UpdateState()
TRIAL = UpdateState(phase="trial", generation=2, previous=1, content="new", release=7, trials=1)
BAD = RefusedContent(content="new", release=7, why="slow")
WISER = UpdateState(refused=(BAD,))
LEAVING = TRIAL.model_copy(update={"phase": "returning", "refused": (BAD,)})


@pytest.mark.parametrize(
    ("state", "event", "after", "actions"),
    [
        (IDLE, Started(1), IDLE, ()),
        (IDLE, Offered("new", 7, "old"), IDLE, (StageRelease(),)),
        (IDLE, Offered("old", 7, "old"), IDLE, (Finish("up_to_date"),)),
        (IDLE, Offered("old", 7, "old", held_back="others first"), IDLE, (Finish("not_yet", "others first"),)),
        (IDLE, Offered("old", 7, "old", again=True, held_back="x"), IDLE, (Finish("not_yet", "x"),)),
        (IDLE, Offered("new articles", 7, "old", held_back="others first"), IDLE, (StageRelease(),)),
        (IDLE, Staged(2, 1, "new", 7), TRIAL, (Switch(2), TryOut(2))),
        (TRIAL, Probed(), IDLE, (CleanUp(), Finish("updated"))),
        (TRIAL, Probed("slow"), LEAVING, (Switch(1),)),
        (LEAVING, Returned(), LEAVING, (CleanUp(drop=2),)),
        (LEAVING, Cleaned(), UpdateState(refused=(BAD,)), (Finish("returned", "slow"),)),
        (TRIAL, Postponed(), IDLE, (Switch(1), Finish("postponed"))),
        (LEAVING, Started(2), LEAVING, (Switch(1),)),
        (TRIAL, Started(2), TRIAL.model_copy(update={"trials": 2}), (Switch(2), TryOut(2))),
        (TRIAL, Started(1), TRIAL.model_copy(update={"trials": 2}), (Switch(2), TryOut(2))),
        (TRIAL, Started(5), IDLE, ()),
        (
            UpdateState(refused=(BAD,)),
            Offered("new", 8, "old"),
            UpdateState(refused=(BAD,)),
            (Finish("refused", "slow"),),
        ),
        (
            UpdateState(refused=(BAD,)),
            Offered("new", 8, "old", again=True),
            UpdateState(refused=(BAD,)),
            (StageRelease(),),
        ),
    ],
)
def test_update_step(state: UpdateState, event: object, after: UpdateState, actions: tuple[object, ...]) -> None:
    assert decide(state, event) == (after, actions)  # type: ignore[arg-type]


def test_update_whose_trial_was_cut_off_twice_is_given_up() -> None:
    state, actions = decide(TRIAL.model_copy(update={"trials": 2}), Started(2))
    assert state.phase == "returning"
    assert state.refused[0].why == "its trial was cut off 2 times"
    assert actions == (Switch(1),)


def test_refused_release_is_known_by_the_name_of_its_bundle(tmp_path: Path) -> None:
    state, _ = decide(IDLE, Staged(2, 1, "new", 7, "shop 2"))
    state, _ = decide(state, Probed("slow"))
    write_state(tmp_path, state)
    assert refused_titles(tmp_path) == ("shop 2",)
    write_state(tmp_path, WISER)  # as an earlier Edgedesk wrote it
    assert refused_titles(tmp_path) == ()


def test_first_generation_of_a_branch_stays_though_its_trial_fails() -> None:
    state, actions = decide(TRIAL.model_copy(update={"previous": None}), Probed("slow"))
    assert state == IDLE
    assert actions == (Finish("returned", "slow"),)


def test_update_state_survives_its_file_and_a_damaged_file_is_idle(tmp_path: Path) -> None:
    write_state(tmp_path, LEAVING)
    assert read_state(tmp_path) == LEAVING
    (tmp_path / "update.json").write_text("{")
    assert read_state(tmp_path) == IDLE


@dataclass
class Branch:
    """A branch in memory: what is on its disk, and an updater that may be killed between any two writes."""

    good: bool
    kills: list[bool]
    disk: UpdateState = IDLE
    current: int = 1
    generations: set[int] = field(default_factory=lambda: {1})
    seen: list[int] = field(default_factory=list)

    def alive(self) -> bool:
        """Whether it lives on past this point."""
        return not (self.kills and self.kills.pop(0))

    def run(self) -> bool:
        """One run of the updater; False when it was killed."""
        content = "old" if self.current == 1 else "new"
        for event in (Started(self.current), Offered("new", 7, content)):
            pending: list[object] = [event]
            while pending:
                state, actions = decide(self.disk, pending.pop(0))  # type: ignore[arg-type]
                if not self.alive():
                    return False
                self.disk = state
                for action in actions:
                    if not self.alive():
                        return False
                    match action:
                        case StageRelease():
                            self.generations.add(2)
                            pending.append(Staged(2, self.current, "new", 7))
                        case Switch(number):
                            assert number in self.generations
                            self.current = number
                            self.seen.append(number)
                            if self.disk.phase == "returning":
                                pending.append(Returned())
                        case TryOut(_):
                            pending.append(Probed("" if self.good else "slow"))
                        case CleanUp(drop):
                            if drop is not None:
                                self.generations.discard(drop)
                                pending.append(Cleaned())
                        case Finish(outcome):
                            if outcome == "returned":
                                return True
        return True


@given(st.booleans(), st.lists(st.booleans(), max_size=30))
def test_update_killed_anywhere_ends_at_the_good_generation_or_back_at_the_old_one(
    good: bool, kills: list[bool]
) -> None:
    """Runs until one is not killed: the outcome is the same as without any kill, unless its trials were cut off."""
    branch = Branch(good, kills)
    runs = 0
    while not branch.run():
        assert branch.current in branch.generations
        runs += 1
    branch.kills = []
    branch.run()
    assert branch.disk.phase == "idle"
    if not good:
        assert branch.current == 1
        assert branch.generations == {1}
    elif not branch.disk.refused:
        assert branch.current == 2
