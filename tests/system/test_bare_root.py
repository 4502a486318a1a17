"""A stick, a plain Debian with Python and nothing else, no network: install.sh makes a branch that answers.

The root is made by mmdebstrap or debootstrap from a Debian mirror, once, and kept in the cache. It has no compiler, no
pip, no ensurepip and no OpenMP library; a namespace without any network device runs it. Needs root, and the program's
folder that `./build.sh app` makes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distill.models.catalogue import cache_folder
from tests.support.app_folder import without_network
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(3600)]
APP = ROOT / "dist" / "app"
SUITE = "bookworm"
QUESTIONS = {"en": "How long can I return an item after delivery?", "zh": "大多数商品多长时间内可以退货？"}


@pytest.fixture(scope="session")
def debian() -> Path:
    """A tar of a plain Debian with python3."""
    if os.geteuid() != 0 or not without_network():
        pytest.skip("needs root and namespaces")
    tar = cache_folder() / f"debian-{SUITE}-python3.tar"
    if not tar.is_file():
        if shutil.which("mmdebstrap") is None:
            pytest.skip("mmdebstrap is missing: apt-get install mmdebstrap")
        tar.parent.mkdir(parents=True, exist_ok=True)
        partial = tar.with_suffix(".partial.tar")
        command = ["mmdebstrap", "--variant=minbase", "--include=python3", SUITE, str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=800)
        if done.returncode:
            partial.unlink(missing_ok=True)
            pytest.skip(f"no Debian mirror answers: {done.stderr.strip().splitlines()[-1:]}")
        partial.rename(tar)
    return tar


class BareRoot:
    """A root folder of its own, entered without a network."""

    def __init__(self, folder: Path, stick: Path) -> None:
        self.folder, self.stick = folder, stick

    def run(self, script: str, *, code: int = 0, user: str = "root", timeout: float = 900) -> str:
        """Run a shell script in there, expect this exit code, return what it printed."""
        enter = """
            mount -t proc proc "$1/proc" && mount -t tmpfs none "$1/dev/shm" && mkdir -p "$1/media/stick" &&
            mount --bind "$2" "$1/media/stick" && mount -o remount,bind,ro "$1/media/stick" &&
            exec chroot "$1" /usr/sbin/runuser -u "$3" -- /bin/sh -euc "$4"
        """
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-euc", enter, "sh"]
        done = subprocess.run(
            [*command, str(self.folder), str(self.stick), user, script],
            capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": f"/home/{user}", "LANG": "C.UTF-8"},
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


@pytest.fixture
def bare_root(debian: Path, stick: Path, tmp_path: Path) -> Iterator[BareRoot]:
    folder = tmp_path / "root"
    folder.mkdir(mode=0o755)
    subprocess.run(["tar", "--extract", "--file", str(debian), "--directory", str(folder)], check=True)
    yield BareRoot(folder, stick)
    # As the superuser's other tests leave it: half a gigabyte is not kept for three runs.
    shutil.rmtree(folder)


def test_bare_root_has_nothing_to_build_with_and_no_network(bare_root: BareRoot) -> None:
    said = bare_root.run(
        """
        for name in cc gcc g++ clang cmake make ninja pip pip3 curl wget git systemctl; do
            ! command -v $name || echo "there: $name"
        done
        python3 -c 'import venv, ssl, sqlite3'
        ! python3 -c 'import ensurepip' 2>/dev/null || echo "there: ensurepip"
        ! ls /usr/lib/x86_64-linux-gnu/libgomp.so.1 2>/dev/null || echo "there: libgomp"
        sed 1,2d /proc/net/dev | cut -d: -f1
        """
    )
    assert said.split() == ["lo"]


def test_bare_root_becomes_a_branch_of_the_machine(
    bare_root: BareRoot, count_trials: Callable[[str, int], None]
) -> None:
    """S12: as root: a user of its own, a system unit, answers in both languages from a server."""
    said = bare_root.run("sh /media/stick/install.sh")
    assert "systemd does not run here" in said
    assert "sections compiled (parallel)" in said
    unit = (bare_root.folder / "etc/systemd/system/edgedesk.service").read_text()
    assert "ExecStart=/opt/edgedesk/current/bin/edgedesk serve --home /var/lib/edgedesk" in unit
    assert "@" not in unit.replace("@system-service", "").replace("~@privileged", "")
    told = bare_root.run(
        f"""
        export EDGEDESK_HOME=/var/lib/edgedesk
        /usr/local/bin/edgedesk serve 2>/tmp/serve.log &
        tries=0
        until grep -q ready: /tmp/serve.log; do
            tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.1
        done
        /usr/local/bin/edgedesk ask '{QUESTIONS["en"]}' --json
        /usr/local/bin/edgedesk ask '{QUESTIONS["zh"]}' --json
        /usr/local/bin/edgedesk doctor --json
        kill $!
        wait
        """,
        user="edgedesk",
    )
    answers = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert all(answer["answer"] for answer in answers[:2])
    checks = {one["name"]: one for one in answers[2]["checks"]}
    assert answers[2]["ok"], checks
    assert checks["server"]["said"] == "ready"
    owners = {path.owner() for path in (bare_root.folder / "opt/edgedesk").rglob("*.py")}
    assert owners == {"root"}, "the service cannot change its own program"

    again = bare_root.run("sh /media/stick/install.sh")
    assert "it is there and whole" in again
    count_trials("S12", 6)


def test_bare_root_lets_a_user_install_without_root(bare_root: BareRoot) -> None:
    bare_root.run("useradd --create-home anna")
    said = bare_root.run("sh /media/stick/install.sh", user="anna")
    assert "done in" in said
    assert (bare_root.folder / "home/anna/.config/systemd/user/edgedesk.service").is_file()
    answer = json.loads(bare_root.run(f"~/.local/bin/edgedesk ask '{QUESTIONS['en']}' --json 2>/dev/null", user="anna"))
    assert answer["answer"]
    # Another user's installation is beside it, not in its way.
    refused = bare_root.run("sh /media/stick/install.sh --home /home/anna/.local/share/edgedesk", code=2)
    assert "belongs to anna" in refused
