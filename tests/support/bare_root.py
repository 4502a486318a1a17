"""Plain Debians to install into: roots made by mmdebstrap from a Debian mirror, once, and kept in the cache.

They have no compiler, no pip, no ensurepip and no OpenMP library, and are entered without any network device.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.base.user_cache import cache_folder
from tests.support.app_folder import without_network
from tests.support.paths import ROOT

APP = ROOT / "dist" / "app"
SUITE = "bookworm"


def make_debian(*packages: str) -> Path:
    """A tar of a plain Debian with these packages beside the essential ones; kept in the cache."""
    if os.geteuid() != 0 or not without_network():
        pytest.skip("needs root and namespaces")
    tar = cache_folder() / f"debian-{SUITE}-{'-'.join(packages)}.tar"
    if not tar.is_file():
        if shutil.which("mmdebstrap") is None:
            pytest.skip("mmdebstrap is missing: apt-get install mmdebstrap")
        tar.parent.mkdir(parents=True, exist_ok=True)
        partial = tar.with_suffix(".partial.tar")
        command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=800)
        if done.returncode:
            partial.unlink(missing_ok=True)
            pytest.skip(f"no Debian mirror answers: {done.stderr.strip().splitlines()[-1:]}")
        partial.rename(tar)
    return tar


@pytest.fixture(scope="session")
def debian() -> Path:
    return make_debian("python3")


@pytest.fixture(scope="session")
def debian_with_systemd() -> Path:
    return make_debian("python3", "systemd", "systemd-sysv", "dbus")


class BareRoot:
    """A root folder of its own, entered without a network."""

    def __init__(self, folder: Path, stick: Path) -> None:
        self.folder, self.stick = folder, stick

    def command(self, script: str, *, user: str = "root") -> list[str]:
        """The command line that runs a shell script in there."""
        enter = """
            mount -t proc proc "$1/proc" && mount -t tmpfs none "$1/dev/shm" && mkdir -p "$1/media/stick" &&
            mount --bind "$2" "$1/media/stick" && mount -o remount,bind,ro "$1/media/stick" &&
            exec chroot "$1" /usr/sbin/runuser -u "$3" -- /bin/sh -euc "$4"
        """
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-euc", enter, "sh"]
        return [*command, str(self.folder), str(self.stick), user, script]

    def environment(self, user: str) -> dict[str, str]:
        """What a user of it finds set."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": f"/home/{user}", "LANG": "C.UTF-8"}

    def run(self, script: str, *, code: int = 0, user: str = "root", timeout: float = 900) -> str:
        """Run a shell script in there, expect this exit code, return what it printed."""
        done = subprocess.run(
            self.command(script, user=user), env=self.environment(user), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture
def stick(make_home: Callable[..., Path], random_gguf: Path, tmp_path: Path) -> Path:
    """A release that every user of the machine may read, as a stick is mounted."""
    if not (APP / "install.sh").is_file():
        pytest.skip("dist/app is missing: ./build.sh app")
    bundle = (make_home(random_gguf, name="built", layout="parallel") / "current").resolve()
    folder = tmp_path / "stick"
    folder.mkdir()
    shutil.copytree(APP, folder / "app", symlinks=True)
    shutil.move(folder / "app" / "install.sh", folder / "install.sh")
    shutil.copytree(bundle, folder / "bundle")
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    return folder


@contextmanager
def unpacked(tar: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir(mode=0o755)
    subprocess.run(["tar", "--extract", "--file", str(tar), "--directory", str(folder)], check=True)
    try:
        yield folder
    finally:
        # Hundreds of megabytes, which pytest would keep for three runs.
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def bare_root(debian: Path, stick: Path, tmp_path: Path) -> Iterator[BareRoot]:
    with unpacked(debian, tmp_path / "root") as folder:
        yield BareRoot(folder, stick)
