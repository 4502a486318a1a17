"""Opens the desk beside the listening server, watches it, and gives a generation up that never worked.

Promises: what goes wrong while the desk is open, a full disk included, never ends the server; a generation is left only
while it is on trial, and once. A generation is on trial until its model has written one answer to the end, so neither
three bad questions nor another program's hunger for memory take a proven one away.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ValidationError

from runtime.base.files import write_atomic
from runtime.base.home import run_folder
from runtime.base.service_manager import notify
from runtime.base.settings import Settings
from runtime.bundle.generations import CURRENT, current_bundle, generations, rollback
from runtime.bundle.update_state import trial_runs
from runtime.desk.ab_test import drop
from runtime.desk.desk import Desk
from runtime.desk.open_desk import apply_retention, open_desk
from runtime.engine.core.crash_report import CrashReport
from runtime.errors import BusyError, EdgedeskError, InputError, IntegrityError, MissingError, ModelError, SpaceError
from runtime.server.service import Service

LOOK_EVERY_S = 0.5
"""How often it is looked whether the engine keeps crashing."""
MOST_CRASHES = 3
"""Of an engine on trial without a whole answer between them; then the generation before is tried."""
RETAIN_EVERY_S = 6 * 3600
"""How often the journal is looked through for what may not be kept longer."""
FULL_DISK_PAUSE_S = 5.0
"""Until a desk that a full disk kept from opening is tried again."""
FILE_NAME = "generations.json"
_BUNDLE_FAULTS = (ModelError, IntegrityError, InputError)
"""Errors of opening a desk for which its bundle may be to blame."""


class Stoppable(Protocol):
    """What listens, and is to end when there will be no desk."""

    def stop(self) -> None:
        """End, from any thread."""


class _Proven(BaseModel):
    """Which generations of a home are not on trial; in `run/generations.json`."""

    proven: tuple[int, ...] = ()


class DeskSupervisor(threading.Thread):
    """Keeps a desk open until the end, and closes it in the thread that opened it."""

    def __init__(
        self, service: Service, home: Path, settings: Settings, servers: Stoppable, say: Callable[[str], None]
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self.error: BaseException | None = None
        """What the server ended with."""
        self._service = service
        self._home = home
        self._settings = settings
        self._servers = servers
        self._say = say
        self._ended = threading.Event()
        self._rolled_back = False
        self._unreadable: Path | None = None
        """A generation that was made current and could not be read; said once."""
        self._next_retention = 0.0

    def run(self) -> None:
        """One desk after another, until the end or until none can be opened."""
        try:
            while not self._ended.is_set():
                self._serve_generation()
        except BaseException as error:
            self.error = error
            self._servers.stop()

    def end(self) -> None:
        """Close the desk; answers in work were cancelled and end within a step."""
        self._ended.set()
        self.join()

    def _serve_generation(self) -> None:
        opened = False
        try:
            # Read here, not where the last one ended: a bundle that cannot be read is one to go back from.
            self._service.reload()
            with open_desk(self._home, self._settings) as desk:
                opened = True
                self._service.desk = desk
                self._announce(desk)
                try:
                    self._watch(desk)
                finally:
                    self._service.desk = None
                    self._service.wait_for_answers()
        except SpaceError as error:
            self._service.log.failure("full disk", error)
            self._say(f"waiting for space: {error}")
            notify("STATUS=waits for free disk space")
            self._ended.wait(FULL_DISK_PAUSE_S)
        except _BUNDLE_FAULTS as error:
            if opened or not self._go_back(f"it cannot be opened: {error}"):
                raise

    def _announce(self, desk: Desk) -> None:
        if desk.journal.recovery:
            self._service.log.info("recovered", **desk.journal.recovery.rows)
            self._say(str(desk.journal.recovery))
        self._say(f"ready: {desk.model}")
        notify("READY=1", f"STATUS=answers with {desk.model}")
        if desk.candidate:
            self._say(f"on trial: {desk.candidate.model}")
        elif desk.candidate_error:
            self._service.log.info("candidate_error", error=desk.candidate_error)
            self._say(f"the model on trial cannot be served: {desk.candidate_error}")

    def _watch(self, desk: Desk) -> None:
        """Until the end, or until another generation is to be opened."""
        answers_before = self._service.metrics.written_by(desk.model)
        self._next_retention = time.monotonic() + RETAIN_EVERY_S
        steps: tuple[Callable[[], bool], ...] = (
            lambda: self._prove(desk, answers_before),
            lambda: self._leave_crashing(desk),
            lambda: self._drop_crashing_candidate(desk),
            lambda: self._follow(desk),
            lambda: self._retain(desk),
            lambda: self._forget_abandoned(desk),
        )
        while not self._ended.wait(LOOK_EVERY_S):
            for step in steps:
                try:
                    if step():
                        return
                except Exception as error:
                    # The disk is full, an experiment went meanwhile: the branch answers on, and this is tried again.
                    self._service.log.failure("supervisor", error)
                    self._ended.wait(FULL_DISK_PAUSE_S)

    def _prove(self, desk: Desk, answers_before: int) -> bool:
        if self._service.metrics.written_by(desk.model) > answers_before:
            # The one that answered: by now another may be current that this desk has not changed to.
            self._mark_proven(int(desk.bundle.root.name))
        return False

    def _leave_crashing(self, desk: Desk) -> bool:
        crashes = _attributable(desk.engine.crash_report())
        if crashes < MOST_CRASHES:
            return False
        return self._go_back(f"its engine crashed {crashes} times")

    def _drop_crashing_candidate(self, desk: Desk) -> bool:
        crashes = _attributable(desk.candidate.engine.crash_report()) if desk.candidate else 0
        if crashes < MOST_CRASHES:
            return False
        experiment = drop(self._home)
        self._service.log.info("crashing", crashes=crashes, experiment=experiment.name)
        self._say(f"the model on trial crashed {crashes} times: {experiment.name} is dropped")
        return True

    def _follow(self, desk: Desk) -> bool:
        """Whether another generation has become current for good: an update, an installation, a way back.

        While an update tries its generation out, the one that answers goes on: whoever waits is not made to. Nor is it
        left for one whose bundle cannot be read.
        """
        current = (self._home / CURRENT).resolve()
        if current == desk.bundle.root or trial_runs(self._home):
            return False
        try:
            current_bundle(self._home)
        except EdgedeskError as error:
            if current != self._unreadable:
                self._unreadable = current
                self._service.log.failure("unreadable generation", error)
                self._say(f"another generation is current and cannot be read, this one answers on: {error}")
            return False
        self._say("another generation is current: changing to it")
        self._rolled_back = False  # whoever made it current has had the last word: it gets a trial of its own
        return True

    def _retain(self, desk: Desk) -> bool:
        if time.monotonic() >= self._next_retention:
            # First, so that a full disk is tried again in hours, not at every look.
            self._next_retention = time.monotonic() + RETAIN_EVERY_S
            self._service.log.info("pruned", **apply_retention(desk.journal, desk.bundle, self._home).as_dict())
        return False

    def _forget_abandoned(self, desk: Desk) -> bool:
        """A text that nobody goes on typing is a customer's words: it must not lie in the engine until the next one."""
        desk.forget_abandoned()
        return False

    def _go_back(self, why: str) -> bool:
        """Make the generation before current; False when this one is proven, was gone back to, or is the only one."""
        now = self._current()
        if self._rolled_back or now in self._proven():
            return False
        try:
            number = rollback(self._home)
        except (BusyError, MissingError):
            return False  # somebody installs just now, or there is nothing to go back to
        self._rolled_back = True
        # It is not left in its turn: then nothing would be left to answer with.
        self._mark_proven(number)
        self._service.log.info("rolled_back", generation=now, to=number)
        self._say(f"generation {now} is given up, {why}: back to generation {number}")
        return True

    def _current(self) -> int:
        return next((one.number for one in generations(self._home) if one.current), 0)

    def _proven(self) -> frozenset[int]:
        path = run_folder(self._home) / FILE_NAME
        try:
            return frozenset(_Proven.model_validate_json(path.read_bytes()).proven)
        except (OSError, ValidationError):
            return frozenset()

    def _mark_proven(self, number: int) -> None:
        proven = self._proven()
        if number not in proven:
            text = json.dumps({"proven": sorted({*proven, number})}) + "\n"
            write_atomic(run_folder(self._home) / FILE_NAME, text, mode=0o600)


def _attributable(crashes: CrashReport) -> int:
    """Crashes for which a model may be to blame: an idle engine that was killed had no work of the model's."""
    return crashes.total - crashes.idle
