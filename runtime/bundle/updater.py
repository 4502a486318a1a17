"""Carries out an update: from a source to a generation that has passed its trial, or back to the one before.

The decisions are `update_state`'s; here are files and locks. Promises: whatever happens, `current` leads to a whole
generation, and running it again goes on from where it was cut off. Knows nothing of how a trial is held.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runtime.base.manifest import read_manifest
from runtime.bundle.bundle import Bundle
from runtime.bundle.generations import (
    CURRENT,
    Progress,
    clean_up,
    current_number,
    installed_bundle,
    installing,
    switch,
)
from runtime.bundle.releases import content_digest, current_content, for_branch, stage_release
from runtime.bundle.sources import Source
from runtime.bundle.trust import VerifiedRelease, verify_release
from runtime.bundle.update_state import (
    Action,
    Cleaned,
    CleanUp,
    Event,
    Finish,
    Offered,
    Outcome,
    Postponed,
    Probed,
    Returned,
    Staged,
    StageRelease,
    Started,
    Switch,
    TryOut,
    UpdateState,
    decide,
    read_state,
    write_state,
)
from runtime.errors import EdgedeskError, MissingError, UnavailableError

TryGeneration = Callable[[Bundle], str]
"""Holds the trial of a generation: why it failed, empty when it went well. `UnavailableError`: not possible now."""


@dataclass(frozen=True)
class Keep:
    """How many generations stay."""

    generations: int = 3
    mib: int = 0
    """Their disk space in MiB; 0 = no bound."""
    protected: Collection[int] = ()
    """Numbers that stay in any case, such as one under an A/B test."""


@dataclass(frozen=True)
class UpdateReport:
    """What an update came to."""

    outcome: Outcome
    why: str
    generation: int | None
    """Current in the end."""
    release: int
    """The release that was offered."""
    removed: tuple[int, ...] = ()
    """Generations that were deleted."""
    held_back: str = ""
    """Why the release's model is not for this branch yet."""


def update(
    source: Source,
    home: Path,
    try_out: TryGeneration,
    *,
    keep: Keep | None = None,
    again: bool = False,
    branch: str = "",
    root: bytes | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> UpdateReport:
    """Bring a branch to the release in a source, or tell why it stays where it is.

    First what an earlier run left undone is done. `branch` is the name by which a roll-out by rings knows it. Raises as
    `verify_release` and `generations.install` do.
    """
    with installing(home, "update"):
        run = _Run(source, home, try_out, keep or Keep(), progress)
        if (finished := run.handle(Started(current_number(home)))) and finished.outcome == "returned":
            return run.report(finished)
        run.release = verify_release(source, home, now or datetime.now(UTC), root=root)
        run.release, run.held_back = for_branch(run.release, home, branch)
        offered = Offered(
            content_digest(run.release),
            run.release.versions["snapshot"],
            current_content(home),
            again=again,
            held_back=run.held_back,
        )
        finished = run.handle(offered)
        assert finished
        return run.report(finished)


class _Run:
    """One run of the machine: carries actions out and feeds what came of them back."""

    def __init__(
        self, source: Source, home: Path, try_out: TryGeneration, keep: Keep, progress: Progress | None
    ) -> None:
        self.release: VerifiedRelease | None = None
        self.held_back = ""
        self._source = source
        self._home = home
        self._try_out = try_out
        self._keep = keep
        self._progress = progress
        self._state = read_state(home)
        self._removed: tuple[int, ...] = ()

    def handle(self, event: Event) -> Finish | None:
        """Carry out what an event leads to; returns how it ended, None when there was nothing to do."""
        pending: list[Event] = [event]
        finished: Finish | None = None
        while pending:
            state, actions = decide(self._state, pending.pop(0))
            self._write(state)
            for action in actions:
                if isinstance(action, Finish):
                    finished = action
                elif (after := self._carry_out(action)) is not None:
                    pending.append(after)
        return finished

    def report(self, finished: Finish) -> UpdateReport:
        """What is told of the run."""
        release = self.release.versions["snapshot"] if self.release else 0
        return UpdateReport(
            finished.outcome, finished.why, current_number(self._home), release, self._removed, self.held_back
        )

    def _carry_out(self, action: Action) -> Event | None:
        match action:
            case StageRelease():
                assert self.release
                same_model = self._same_model(self.release)
                number = stage_release(self._source, self._home, self.release, self._progress, quick=same_model)
                info = installed_bundle(self._home, number).info
                return Staged(
                    number,
                    current_number(self._home),
                    content_digest(self.release),
                    self.release.versions["snapshot"],
                    # Articles that fail their trial say nothing of a model that a roll-out is about.
                    "" if same_model else f"{info.name} {info.version}",
                )
            case Switch(number):
                switch(self._home, number)
                return Returned() if self._state.phase == "returning" else None
            case TryOut(number):
                return self._probe(number)
            case CleanUp(drop):
                self._removed += clean_up(
                    self._home,
                    keep=self._keep.generations,
                    max_bytes=self._keep.mib << 20,
                    protected=self._keep.protected,
                    drop=drop,
                )
                return Cleaned() if self._state.phase == "returning" else None
        return None

    def _probe(self, number: int) -> Event:
        try:
            return Probed(self._try_out(installed_bundle(self._home, number)))
        except UnavailableError:
            return Postponed()
        except MissingError as error:
            return Probed(str(error))

    def _same_model(self, release: VerifiedRelease) -> bool:
        """Whether only articles differ from the current generation: then what it has is not read again."""
        try:
            before = {entry.path: entry.sha256 for entry in read_manifest(self._home / CURRENT).files}
        except EdgedeskError:
            return False
        after = {entry.path: entry.sha256 for entry in release.files}
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        return all(path.startswith("articles/") for path in changed)

    def _write(self, state: UpdateState) -> None:
        if state != self._state:
            write_state(self._home, state)
            self._state = state
