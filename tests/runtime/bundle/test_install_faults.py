"""Install and rollback with a fault in every system call that changes the disk: a kill, a full disk, a failing one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.manifest import write_manifest
from runtime.bundle.bundle import open_bundle
from runtime.bundle.generations import current_bundle, generations, install, rollback
from runtime.errors import ExitCode
from tests.support.strace import FaultyInstaller, Point, copied, spread

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing: apt-get install strace; then faults are tried here"
)
ORDINARY = 24
"""Points of a sweep in the ordinary run; the slow one tries them all."""


@pytest.fixture
def bundles(make_bundle: Callable[..., Path]) -> tuple[Path, Path]:
    """Two versions, small: what is copied counts here, not what it says."""
    roots = make_bundle("a", "1"), make_bundle("b", "2")
    for root, version in zip(roots, "12", strict=True):
        (root / "embedder" / "model.onnx").write_bytes(b"encoder of version " + version.encode())
        write_manifest(root, "bundle", {}, {"version": version})
    return roots


@pytest.fixture
def homes(bundles: tuple[Path, Path], tmp_path: Path) -> dict[str, Path]:
    """For each command a home it changes: version 1 is installed, or both are and 2 is current."""
    for name in ("install", "rollback"):
        install(bundles[0], tmp_path / name)
    install(bundles[1], tmp_path / "rollback")
    return {name: tmp_path / name for name in ("install", "rollback")}


def is_whole(home: Path) -> bool:
    """Whether `current` leads to one of the two versions, every byte as it was built."""
    bundle = open_bundle(current_bundle(home).root, verify=True)
    return bundle.info.version in ("1", "2")


def sweep(
    bundles: tuple[Path, Path],
    homes: dict[str, Path],
    scratch: Path,
    fault: str,
    most: int,
    expected: Callable[[Point, int], bool],
) -> int:
    """Try a fault at points of both commands; after each the home is whole and the same command converges."""
    trials = 0
    with FaultyInstaller() as installer:
        for act, home in homes.items():
            with copied(home, scratch / "home") as trial:
                points = installer.points(act, bundles[1], trial, scratch / "log")
            assert {"fsync", "rename", "symlink"} <= {point.call for point in points}
            for point in spread(points, most):
                with copied(home, scratch / "home") as trial:
                    inject = f"inject={point.call}:{fault}:when={point.nth}"
                    code = installer.run(act, bundles[1], trial, "-o", "/dev/null", "-e", inject)
                    assert expected(point, code), (act, point, code)
                    assert is_whole(trial), (act, point)
                    if act == "install":
                        install(bundles[1], trial)
                    elif current_bundle(trial).info.version == "2":
                        rollback(trial)
                    assert current_bundle(trial).info.version == {"install": "2", "rollback": "1"}[act], (act, point)
                    assert is_whole(trial), (act, point)
                    assert not list((trial / "generations").glob(".*")), (act, point)
                    assert len(generations(trial)) == 2, (act, point)
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


def test_install_killed_at_a_system_call_leaves_a_whole_generation(
    bundles: tuple[Path, Path], homes: dict[str, Path], tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """Part of F1: SIGKILL at points spread over install and rollback; run again, each converges."""
    trials = sweep(bundles, homes, tmp_path, "signal=KILL", ORDINARY, was_killed)
    assert trials >= ORDINARY
    count_trials("F1", trials)


def test_install_on_a_full_disk_leaves_a_whole_generation(
    bundles: tuple[Path, Path], homes: dict[str, Path], tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F3: ENOSPC from the kernel at points spread over install and rollback."""
    trials = sweep(bundles, homes, tmp_path, "error=ENOSPC", ORDINARY, found_the_disk_full)
    assert trials >= ORDINARY
    count_trials("F3", trials)


def test_install_on_a_failing_disk_is_never_reported_as_done(
    bundles: tuple[Path, Path], homes: dict[str, Path], tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F4: EIO from the kernel at points spread over install and rollback."""
    trials = sweep(bundles, homes, tmp_path, "error=EIO", ORDINARY, never_succeeded)
    assert trials >= ORDINARY
    count_trials("F4", trials)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("fault", "expected"),
    [("signal=KILL", was_killed), ("error=ENOSPC", found_the_disk_full), ("error=EIO", never_succeeded)],
)
def test_install_with_a_fault_at_every_system_call(
    bundles: tuple[Path, Path],
    homes: dict[str, Path],
    tmp_path: Path,
    fault: str,
    expected: Callable[[Point, int], bool],
    count_trials: Callable[[str, int], None],
) -> None:
    """F3, F4. Part of F1: every point of install and rollback; updates and clean-up do not exist yet."""
    trials = sweep(bundles, homes, tmp_path, fault, 10_000, expected)
    count_trials({"signal=KILL": "F1", "error=ENOSPC": "F3"}.get(fault, "F4"), trials)
