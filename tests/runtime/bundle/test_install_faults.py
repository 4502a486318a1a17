"""Install, update, rollback and clean-up with faults in their system calls: kills, full disks, errors, power cuts."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.generations import clean_up, current_bundle, generations, install, installing, rollback
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource
from runtime.bundle.updater import update
from runtime.errors import ExitCode
from tests.support.power_cut import OPTIONS, TRACED, Recording
from tests.support.releases import Company
from tests.support.strace import CALLS, DURABLE, FaultyInstaller, Point, copied, spread

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing: apt-get install strace; then faults are tried here"
)
ORDINARY = 12
"""Points of a sweep of a full and of a failing disk in the ordinary run, for each command; the slow one tries all."""

POWER_CUTS = {"install": 250, "update": 150, "return": 150, "rollback": 200, "clean": 250}
"""States of the disk that are tried of each command; an update checks signatures, which takes longer."""


@dataclass(frozen=True)
class Command:
    """A command that changes a branch."""

    name: str
    """As `FaultyInstaller` knows it."""
    home: Path
    """The branch before it."""
    source: Path
    again: Callable[[Path], object]
    """Runs it once more, here."""
    ends_at: str
    """The version that is current when it has been run to its end."""
    generations: list[int]
    """Those that are there then."""


@pytest.fixture
def commands(company: Company, small_bundle: Callable[[str], Path], tmp_path: Path) -> list[Command]:
    """Install, update, an update that is left again, rollback and clean-up, each on a branch of its own."""
    first, second = small_bundle("1"), small_bundle("2")
    company.release(first)
    install(first, tmp_path / "install")  # unsigned: a branch that believes a root takes no plain bundle
    for name in ("update", "return"):
        install_release(FolderSource(company.folder), tmp_path / name)
    company.release(second)
    install(first, tmp_path / "rollback")
    install(second, tmp_path / "rollback")
    for version in ("1", "2", "3", "4"):
        install(first if version == "1" else small_bundle(f"{version}x"), tmp_path / "clean")

    def go_back(home: Path) -> None:
        if current_bundle(home).info.version == "2":
            rollback(home)

    def clean(home: Path) -> None:
        with installing(home):
            clean_up(home, keep=2)

    release = FolderSource(company.folder)
    return [
        Command("install", tmp_path / "install", second, lambda home: install(second, home), "2", [1, 2]),
        Command("update", tmp_path / "update", company.folder, lambda home: update(release, home, good), "2", [1, 2]),
        Command("return", tmp_path / "return", company.folder, lambda home: update(release, home, slow), "1", [1]),
        Command("rollback", tmp_path / "rollback", second, go_back, "1", [1, 2]),
        Command("clean", tmp_path / "clean", second, clean, "4x", [3, 4]),
    ]


def good(_: Bundle) -> str:
    return ""


def slow(_: Bundle) -> str:
    return "it is slow"


def is_whole(home: Path) -> bool:
    """Whether `current` leads to a generation with every byte as it was built."""
    bundle = open_bundle(current_bundle(home).root, verify=True)
    return bundle.info.version in ("1", "2", "4x")


def check_converges(command: Command, home: Path, point: object) -> None:
    """Whatever was done to it, a home is whole, and the command run again ends as if nothing had happened."""
    assert is_whole(home), (command.name, point)
    command.again(home)
    assert is_whole(home), (command.name, point)
    assert current_bundle(home).info.version == command.ends_at, (command.name, point)
    assert not list((home / "generations").glob(".*")), (command.name, point)
    assert [one.number for one in generations(home)] == command.generations, (command.name, point)


def sweep(
    commands: list[Command],
    scratch: Path,
    fault: str,
    most: int,
    expected: Callable[[Point, int], bool],
    calls: tuple[str, ...] = CALLS,
) -> int:
    """Try a fault at points of every command; after each the home is whole and the same command converges."""
    trials = 0
    with FaultyInstaller() as installer:
        for command in commands:
            with copied(command.home, scratch / "home") as trial:
                points = installer.points(command.name, command.source, trial, scratch / "log")
            assert {"fsync", "rename"} <= {point.call for point in points}
            for point in spread([point for point in points if point.call in calls], most):
                with copied(command.home, scratch / "home") as trial:
                    inject = f"inject={point.call}:{fault}:when={point.nth}"
                    code = installer.run(command.name, command.source, trial, "-o", "/dev/null", "-e", inject)
                    assert expected(point, code), (command.name, point, code)
                    check_converges(command, trial, point)
                    trials += 1
    return trials


def was_killed(point: Point, code: int) -> bool:
    del point
    return code == -9


HARMLESS = ("unlink", "unlinkat", "rmdir", "mkdir")
"""Tidying up, and making a folder that is there already, may fail without ending the command: it ends whole."""


def found_the_disk_full(point: Point, code: int) -> bool:
    return code == ExitCode.NO_SPACE or (code == 0 and point.call in HARMLESS)


def never_succeeded(point: Point, code: int) -> bool:
    """After a failed fsync, write or rename nothing is reported as installed."""
    return code > 0 or (code == 0 and point.call in HARMLESS)


def test_command_killed_at_any_write_sync_or_name_leaves_a_whole_generation(
    commands: list[Command], tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F1: SIGKILL at every write, fsync, rename, link and unlink of install, update, return, rollback and clean-up."""
    trials = sweep(commands, tmp_path, "signal=KILL", 10_000, was_killed, DURABLE)
    assert trials > 200
    count_trials("F1", trials)


def test_command_on_a_full_disk_leaves_a_whole_generation(
    commands: list[Command], tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F3: ENOSPC from the kernel at points spread over all commands."""
    trials = sweep(commands, tmp_path, "error=ENOSPC", ORDINARY, found_the_disk_full)
    assert trials >= ORDINARY
    count_trials("F3", trials)


def test_command_on_a_failing_disk_is_never_reported_as_done(
    commands: list[Command], tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F4: EIO from the kernel at points spread over all commands."""
    trials = sweep(commands, tmp_path, "error=EIO", ORDINARY, never_succeeded)
    assert trials >= ORDINARY
    count_trials("F4", trials)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("fault", "expected"),
    [("signal=KILL", was_killed), ("error=ENOSPC", found_the_disk_full), ("error=EIO", never_succeeded)],
)
def test_command_with_a_fault_at_every_system_call(
    commands: list[Command],
    tmp_path: Path,
    fault: str,
    expected: Callable[[Point, int], bool],
    count_trials: Callable[[str, int], None],
) -> None:
    """F1, F3, F4: every point of every command."""
    trials = sweep(commands, tmp_path, fault, 10_000, expected)
    count_trials({"signal=KILL": "F1", "error=ENOSPC": "F3"}.get(fault, "F4"), trials)


def test_power_cut_at_any_moment_leaves_a_whole_generation(
    commands: list[Command], tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F2: unsynced writes lost, torn, zero or reordered; 1,000 legal states of the disk over all commands."""
    states, rng = 0, random.Random(20261130)
    # In memory where there is such a folder: what is tried is what lies on the disk, not how long an fsync takes.
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder,
        FaultyInstaller() as installer,
    ):
        for command in commands:
            log = tmp_path / f"{command.name}.log"
            worked = Path(shutil.copytree(command.home, tmp_path / f"worked {command.name}", symlinks=True))
            options = ("-o", str(log), "-e", f"trace={','.join(TRACED)}", *OPTIONS)
            assert installer.run(command.name, command.source, worked, *options) == 0
            recording = Recording(worked, command.home, log)
            home = Path(folder) / "home"
            recording.write(recording.inodes, home)
            assert is_whole(home), "the recording replays to what the command left"
            shutil.rmtree(home)
            for number in range(POWER_CUTS[command.name]):
                recording.write(recording.cut(rng), home)
                check_converges(command, home, number)
                shutil.rmtree(home)
                states += 1
    assert states >= 1000
    count_trials("F2", states)
